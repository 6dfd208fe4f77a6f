import process from "node:process";
import { parseArgs } from "node:util";

const options = {
  port: { type: "string", default: "8000" },
  "tcp-port": { type: "string", default: "8001" },
  "udp-port": { type: "string", default: "8002" },
} as const;

/** Starts a server on a flag's port, or ends the program and says why. */
export async function listen<T>(
  flag: keyof typeof options,
  start: (port: number) => Promise<T>,
): Promise<T> {
  let port: string | undefined;
  try {
    port = parseArgs({ options }).values[flag];
    return await start(Number(port));
  } catch (error) {
    console.error((error as Error).message);
    if (port !== undefined) {
      console.error(`--${flag}=N takes another port, --${flag}=0 any free one`);
    }
    process.exit(1);
  }
}
