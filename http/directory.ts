import { file, notFound, wrongMethod } from "./file.ts";
import type { FileOptions } from "./file.ts";
import {
  factsAt,
  isBelow,
  isWindows,
  pathBelow,
  realPath,
} from "./_node_files.ts";
import { Response as Light } from "./response.ts";

/** What {@linkcode directory} gives away, and how. */
export interface DirectoryOptions extends Omit<FileOptions, "type"> {
  /** The beginning of the path that is not part of the folder: `"/static"`. */
  prefix?: string;
  /**
   * The file that stands for a folder; `false` for none.
   *
   * @default {"index.html"}
   */
  index?: string | false;
  /**
   * Gives away names that begin with a dot.
   *
   * @default {false}
   */
  dotfiles?: boolean;
  /**
   * Follows symbolic links that lead out of the folder.
   *
   * @default {false}
   */
  followSymlinks?: boolean;
}

/** The names in a path; undefined for one that is not to be given. */
function namesOf(path: string, dotfiles: boolean): string[] | undefined {
  const names: string[] = [];
  const parts = path.split("/");
  // The first is what stands before the first slash.
  for (let i = 1; i < parts.length; i++) {
    let name: string;
    try {
      name = decodeURIComponent(parts[i]);
    } catch {
      return undefined;
    }
    if (name === "") {
      if (i === parts.length - 1) break;
      return undefined;
    }
    if (
      name === "." || name === ".." || /[/\\\0]/.test(name) ||
      (isWindows && name.includes(":")) ||
      (name.startsWith(".") && !dotfiles)
    ) return undefined;
    names.push(name);
  }
  return names;
}

/**
 * The file of a folder that the request's path names, as {@linkcode file}
 * sends it; a folder gives its index file, behind a redirect (308) to its path
 * with a slash. Everything else is a 404: paths with `..`, with an encoded
 * `/`, `\` or NUL, with empty names, names that begin with a dot, and symbolic
 * links that leave the folder. Folders are never listed.
 *
 * @example
 * ```ts
 * import { directory } from "@sluice/net/http";
 *
 * const request = new Request("http://localhost/..%2fsecret");
 * const response = await directory(request, ".");
 * console.log(response.status); // 404
 * ```
 */
export async function directory(
  request: Request,
  root: string,
  options: DirectoryOptions = {},
): Promise<Response> {
  if (typeof root !== "string" || root === "") {
    throw new TypeError(`Cannot serve a folder: its path is: ${root}`);
  }
  const { prefix = "", index = "index.html" } = options;
  if (typeof prefix !== "string" || (prefix !== "" && prefix[0] !== "/")) {
    throw new TypeError(
      `Cannot serve a folder: prefix must begin with a slash: ${prefix}`,
    );
  }
  const wrong = wrongMethod(request);
  if (wrong !== undefined) return wrong;
  const { pathname, search } = new URL(request.url);
  // As paths of URLs have it: a space in it is %20 there.
  const base = new URL(`http://x${prefix}`).pathname.replace(/\/$/, "");
  if (pathname !== base && !pathname.startsWith(`${base}/`)) return notFound();
  const rest = pathname.slice(base.length);
  const names = namesOf(rest, options.dotfiles === true);
  if (names === undefined) return notFound();
  const slash = rest.endsWith("/");
  try {
    let path = pathBelow(root, names);
    const inside = options.followSymlinks === true
      ? undefined
      : await realPath(root);
    // Nothing is told of what is outside, not even that it is a folder.
    const leaves = async () =>
      inside !== undefined && !isBelow(inside, await realPath(path));
    if ((await factsAt(path)).kind === "directory") {
      if (index === false || await leaves()) return notFound();
      // No name is empty: the target cannot begin with two slashes.
      if (!slash) {
        return new Light(null, {
          status: 308,
          headers: { location: `${pathname}/${search}` },
        });
      }
      path = pathBelow(root, [...names, index]);
    } else if (slash) {
      return notFound();
    }
    if (await leaves()) return notFound();
    return await file(request, path, options);
  } catch (error) {
    switch ((error as { code?: unknown })?.code) {
      case "ENOENT":
      case "ENOTDIR":
      case "ELOOP":
      case "ENAMETOOLONG":
      case "EACCES":
      case "EPERM":
        return notFound();
    }
    throw error;
  }
}
