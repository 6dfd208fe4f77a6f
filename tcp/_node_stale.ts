import { lstat, unlink } from "node:fs/promises";
import * as net from "node:net";
import { dirname } from "node:path";
import type { NetError } from "../streams/errors.ts";
import type { MaybePromise } from "../streams/types.ts";
import { listenError } from "./_errors.ts";

/** Whether the file was a socket of nobody's, and is removed now. */
async function removeStale(path: string): Promise<boolean> {
  try {
    if (!(await lstat(path)).isSocket()) return false;
  } catch {
    return false;
  }
  const alive = await new Promise<boolean>((resolve) => {
    const socket = net.connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: { code?: string }) => {
      resolve(error.code !== "ECONNREFUSED");
    });
  });
  if (alive) return false;
  await unlink(path);
  return true;
}

/**
 * Listens; when the path is taken by a socket file that a dead server left
 * behind, once more without it.
 */
export async function replacingStale<T>(
  path: string | undefined,
  listen: () => MaybePromise<T>,
): Promise<T> {
  try {
    return await listen();
  } catch (error) {
    const { code } = error as NetError;
    if (path === undefined) throw error;
    // libuv says EACCES for a folder that is not there.
    if (code === "EACCES" && !await exists(dirname(path))) {
      throw listenError({ code: "ENOENT" }, { transport: "unix", path });
    }
    if (code !== "EADDRINUSE" || !await removeStale(path)) throw error;
    return await listen();
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch {
    return false;
  }
}
