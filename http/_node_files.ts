import { constants } from "node:fs";
import { lstat, open, realpath, stat } from "node:fs/promises";
import { resolve, sep } from "node:path";

/** What is known of a file. */
export interface FileFacts {
  readonly kind: "file" | "directory" | "other";
  readonly size: number;
  /** Changes whenever the file does, as far as the file system tells. */
  readonly version: string;
  /** Milliseconds. */
  readonly modified: number;
}

/** A file that is open for reading. */
export interface OpenFile {
  readonly facts: FileFacts;
  /** Reads at a position; how many bytes came, 0 at the end. */
  read(into: Uint8Array, position: number): Promise<number>;
  close(): Promise<void>;
}

interface Stats {
  isFile(): boolean;
  isDirectory(): boolean;
  readonly size: bigint;
  readonly mtimeMs: bigint;
}

function factsOf(stats: Stats): FileFacts {
  return {
    kind: stats.isFile() ? "file" : stats.isDirectory() ? "directory" : "other",
    size: Number(stats.size),
    // Deno knows no more of the time; the same file is the same everywhere.
    version: `${stats.size.toString(36)}-${stats.mtimeMs.toString(36)}`,
    modified: Number(stats.mtimeMs),
  };
}

export async function factsAt(path: string): Promise<FileFacts> {
  return factsOf(await stat(path, { bigint: true }));
}

/** The same, of a link itself: neither a file nor a folder. */
export async function ownFactsAt(path: string): Promise<FileFacts> {
  return factsOf(await lstat(path, { bigint: true }));
}

/** Opens without waiting, even for a pipe that nobody writes to. */
export async function openFile(path: string): Promise<OpenFile> {
  const handle = await open(
    path,
    constants.O_RDONLY | (constants.O_NONBLOCK ?? 0),
  );
  try {
    const facts = factsOf(await handle.stat({ bigint: true }));
    return {
      facts,
      async read(into, position) {
        return (await handle.read(into, 0, into.length, position)).bytesRead;
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The path without links. */
export function realPath(path: string): Promise<string> {
  return realpath(path);
}

/** The path of names below a folder. */
export function pathBelow(root: string, names: readonly string[]): string {
  return resolve(root, ...names);
}

/** Whether a path is the folder or in it; both without links. */
export function isBelow(root: string, path: string): boolean {
  return path === root ||
    path.startsWith(root.endsWith(sep) ? root : root + sep);
}

/** Whether `\` divides paths and `:` names devices. */
export const isWindows: boolean = sep === "\\";
