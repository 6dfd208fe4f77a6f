import versions from "./runtimes.json" with { type: "json" };

/** A runtime to run tests on: its name and how to start it. */
export interface Runtime {
  readonly name: string;
  readonly version: string;
  readonly path: string;
}

/** Names of all runtimes, in the order they are tested in. */
export const runtimeNames: readonly string[] = [
  "deno",
  ...Object.keys(versions),
];

/** What a finished command printed. */
export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end; killed after `timeout` ms, with code 124. */
export async function run(
  command: string,
  args: readonly string[],
  options: {
    cwd?: string | URL;
    env?: Record<string, string>;
    timeout?: number;
  } = {},
): Promise<Output> {
  const child = new Deno.Command(command, {
    args: [...args],
    cwd: options.cwd,
    env: { NO_COLOR: "1", FORCE_COLOR: "0", ...options.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, options.timeout ?? 600_000);
  try {
    const { code, stdout, stderr } = await child.output();
    const decoder = new TextDecoder();
    return {
      code: late ? 124 : code,
      stdout: decoder.decode(stdout),
      stderr: decoder.decode(stderr),
    };
  } finally {
    clearTimeout(timer);
  }
}

/** Finds or fetches a runtime of the pinned version, through npm. */
export async function resolveRuntime(name: string): Promise<Runtime> {
  if (name === "deno") {
    return { name, version: Deno.version.deno, path: Deno.execPath() };
  }
  const version = (versions as Record<string, string>)[name];
  if (version === undefined) {
    throw new Error(
      `Unknown runtime: ${name} (there are ${runtimeNames.join(", ")})`,
    );
  }
  const tool = name.startsWith("node") ? "node" : name;
  const print = `${tool} -e "console.log(process.execPath)"`;
  // A download may fail once; a second time it is the answer.
  for (let attempt = 1;; attempt++) {
    const { code, stdout, stderr } = await run("npx", [
      "-y",
      "-p",
      `${tool}@${version}`,
      "-c",
      print,
    ], { timeout: 300_000 });
    const path = stdout.trim().split("\n").pop() ?? "";
    if (code === 0 && path !== "") return { name, version, path };
    if (attempt === 2) {
      throw new Error(`Cannot get ${tool}@${version} from npm: ${stderr}`);
    }
  }
}
