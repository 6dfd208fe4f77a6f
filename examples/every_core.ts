/**
 * One process a core, all of them on one port: the kernel deals the
 * connections out. A worker that dies is replaced; SIGTERM ends them all, each
 * when its requests are answered.
 *
 * ```sh
 * deno run -A examples/every_core.ts 8000
 * ```
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { availableParallelism } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { http } from "../mod.ts";

const [port = "8000", role] = process.argv.slice(2);
const signals = ["SIGINT", "SIGTERM"] as const;

async function work(): Promise<void> {
  const server = await http.serve(
    () => new Response(`Worker ${process.pid}\n`),
    { hostname: "127.0.0.1", port: Number(port), reusePort: true },
  );
  console.log(`Worker ${process.pid}: curl ${server.url}`);
  for (const signal of signals) {
    // Ctrl-C comes twice: from the terminal, and from who manages the workers.
    process.on(signal, async () => {
      await server.close({ timeout: 5000 });
      process.exit();
    });
  }
}

function manage(): void {
  const workers = new Set<ChildProcess>();
  let closing = false;
  const close = (signal: NodeJS.Signals) => {
    closing = true;
    for (const worker of workers) worker.kill(signal);
  };
  const start = () => {
    const worker = fork(fileURLToPath(import.meta.url), [port, "worker"]);
    const started = performance.now();
    workers.add(worker);
    worker.once("exit", (code) => {
      workers.delete(worker);
      if (closing) return;
      if (performance.now() - started > 1000) start();
      else {
        // It would only fail again: the port may be another's.
        process.exitCode = code || 1;
        close("SIGTERM");
      }
    });
  };
  for (const signal of signals) process.once(signal, () => close(signal));
  for (let i = Math.max(2, availableParallelism()); i > 0; i--) start();
}

if (role === "worker") await work();
else manage();
