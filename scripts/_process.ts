/** What a finished command printed. */
export interface Output {
  /** The exit code; 124 when it was killed at its timeout. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Settings of a command. */
export interface RunOptions {
  cwd?: string | URL;
  env?: Record<string, string>;
  /** What it reads from its standard input. */
  input?: string;
  /** After so many ms it is killed, with all it started; 10 min. */
  timeout?: number;
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
const running = new Set<number>();

function killGroup(pid: number): void {
  try {
    Deno.kill(-pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}

function endAll(): void {
  running.forEach(killGroup);
  Deno.exit(130);
}

/** This environment, with output that a program can read. */
function plainEnv(): Record<string, string> {
  // Whatever its value, FORCE_COLOR makes Deno color what it prints.
  const { FORCE_COLOR: _, ...env } = Deno.env.toObject();
  return { ...env, NO_COLOR: "1" };
}

/**
 * Runs a command to its end. It leads a process group of its own, so that
 * neither a timeout nor Ctrl-C leaves behind what it started.
 */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Output> {
  const child = new Deno.Command(command, {
    args: [...args],
    cwd: options.cwd,
    env: { ...plainEnv(), ...options.env },
    clearEnv: true,
    stdin: options.input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  if (running.size === 0) {
    for (const signal of SIGNALS) Deno.addSignalListener(signal, endAll);
  }
  running.add(child.pid);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    killGroup(child.pid);
  }, options.timeout ?? 600_000);
  try {
    const [{ code, stdout, stderr }] = await Promise.all([
      child.output(),
      feed(child, options.input),
    ]);
    const decoder = new TextDecoder();
    return {
      code: late ? 124 : code,
      stdout: decoder.decode(stdout),
      stderr: decoder.decode(stderr),
    };
  } finally {
    clearTimeout(timer);
    killGroup(child.pid);
    running.delete(child.pid);
    if (running.size === 0) {
      for (const signal of SIGNALS) Deno.removeSignalListener(signal, endAll);
    }
  }
}

async function feed(child: Deno.ChildProcess, input?: string): Promise<void> {
  if (input === undefined) return;
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
}
