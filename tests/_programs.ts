import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runArgs, runtime, within } from "./_support.ts";

const root = new URL("../", import.meta.url);
/** `js` when this runs on the npm build, for Node 20. */
const extension = import.meta.url.endsWith(".js") ? "js" : "ts";
const args = runtime === "deno"
  ? [...runArgs, `--config=${fileURLToPath(new URL("deno.json", root))}`]
  : [];

// Whatever its value, it makes Deno color what it prints.
const { FORCE_COLOR: _, ...env } = process.env;

/** A program that runs in a process of its own, on this runtime. */
export class Program {
  readonly process: ChildProcess;
  /** Settles with the exit code, or the name of the signal. */
  readonly exit: Promise<number | string | null>;
  stdout = "";
  stderr = "";
  #cleanUp: () => Promise<void>;
  #waiting = new Set<() => void>();

  constructor(
    path: string,
    rest: readonly string[] = [],
    cleanUp: () => Promise<void> = () => Promise.resolve(),
  ) {
    this.#cleanUp = cleanUp;
    this.process = spawn(process.execPath, [...args, path, ...rest], {
      cwd: fileURLToPath(root),
      env: { ...env, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.process.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
      for (const look of this.#waiting) look();
    });
    this.process.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.exit = new Promise((resolve, reject) => {
      this.process.on("error", reject);
      this.process.on("close", (code, signal) => {
        for (const look of this.#waiting) look();
        resolve(code ?? signal);
      });
    });
    this.exit.catch(() => {});
  }

  /** What the pattern finds in the output, as soon as it is there. */
  printed(pattern: RegExp, ms = 20_000): Promise<RegExpMatchArray> {
    const found = new Promise<RegExpMatchArray>((resolve, reject) => {
      const look = () => {
        const match = this.stdout.match(pattern);
        if (match !== null) resolve(match);
        if (match !== null) this.#waiting.delete(look);
      };
      this.#waiting.add(look);
      look();
      this.exit.then((code) =>
        reject(
          new Error(
            `The program ended with ${code}: ${this.stdout}${this.stderr}`,
          ),
        ), reject);
    });
    return within(found, ms, String(pattern)).catch((error) => {
      throw new Error(`${error.message}: ${this.stdout}${this.stderr}`);
    });
  }

  /** The port that it says it listens on. */
  async port(ms?: number): Promise<number> {
    const [, port] = await this.printed(
      /port: (\d+)/,
      ms,
    );
    return Number(port);
  }

  kill(signal: NodeJS.Signals = "SIGTERM"): void {
    // Deno's `kill` would report the signal in place of the exit code.
    process.kill(this.process.pid!, signal);
  }

  /** Ends it, whatever it does. */
  async stop(): Promise<void> {
    this.process.kill("SIGKILL");
    await within(this.exit, 5000, "The program").catch(() => {});
    await this.#cleanUp();
  }
}

/** An example's file, named without its extension, as it is in this build. */
export function examplePath(name: string): string {
  return fileURLToPath(new URL(`examples/${name}.${extension}`, root));
}

/** The library, with servers that take any port and say which. */
const shim = `
import * as library from ${JSON.stringify(url("mod"))};
export const { streams, ws } = library;
export const http = { ...library.http, serve: anyPort(library.http.serve) };
export const tcp = { ...library.tcp, serve: anyPort(library.tcp.serve) };
export const udp = {
  ...library.udp,
  bind: (options) => anyPort((_, options) => library.udp.bind(options))(0, options),
};
function anyPort(open) {
  return async (handler, options) => {
    const opened = await open(handler, { ...options, port: 0 });
    console.log("port: " + opened.address.port);
    return opened;
  };
}
`;

function url(module: string): string {
  return new URL(`${module}.${extension}`, root).href;
}

/** Runs source as a reader has it, but for the ports that it listens on. */
export async function runSource(
  source: string,
  rest: readonly string[] = [],
): Promise<Program> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-program-"));
  const path = join(folder, `program.m${extension}`);
  await writeFile(join(folder, "shim.mjs"), shim);
  await writeFile(path, relocate(source));
  return new Program(path, rest, () => rm(folder, { recursive: true }));
}

/** Runs an example the same way. */
export async function runExample(
  name: string,
  rest: readonly string[] = [],
): Promise<Program> {
  return await runSource(await readFile(examplePath(name), "utf8"), rest);
}

/** Makes the imports lead to the library and the packages of this folder. */
function relocate(source: string): string {
  return source
    .replaceAll(/"(@sluice\/net|\.\.\/mod\.[jt]s)"/g, '"./shim.mjs"')
    .replaceAll(
      /"\.\.\/([\w/]+)\.[jt]s"/g,
      (_, module: string) => JSON.stringify(url(module)),
    )
    .replaceAll(
      /from "(hono[\w/]*)"/g,
      (_, name: string) => `from "${import.meta.resolve(name)}"`,
    );
}
