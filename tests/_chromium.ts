import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../ws/mod.ts";
import type { Socket } from "../ws/mod.ts";
import { tool, until, within } from "./_support.ts";

/** Arguments for a browser in a machine without screen or network. */
const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // The certificates of the tests are nobody's it knows.
  "--ignore-certificate-errors",
  "--remote-debugging-port=0",
];

interface Reply {
  id?: number;
  error?: { message: string };
  result: Record<string, unknown>;
}

/** A page in headless Chromium, driven over its DevTools protocol. */
export interface Page {
  /** The value of an expression in the page. */
  evaluate<T>(expression: string): Promise<T>;
  /** Waits until an expression in the page is true. */
  until(expression: string): Promise<void>;
  /** Types text and Enter into the field that a selector finds. */
  type(selector: string, text: string): Promise<void>;
  close(): Promise<void>;
}

/** Name of Chromium's program here; `undefined` when it is not installed. */
export const chromium: string | undefined = ["chromium", "chromium-browser"]
  .map(tool).find((path) => path !== undefined);

/** Starts Chromium with a page. */
export async function openPage(url: string): Promise<Page> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-chromium-"));
  const child = spawn(chromium!, [
    ...ARGS,
    `--user-data-dir=${folder}`,
    "about:blank",
  ], { stdio: ["ignore", "ignore", "pipe"] });
  const exit = new Promise((resolve) => child.on("close", resolve));
  let socket: Socket | undefined;
  const close = async () => {
    socket?.destroy();
    child.kill("SIGKILL");
    await within(exit, 10_000, "Chromium");
    // Its helpers may write for a moment longer.
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    let stderr = "";
    const address = new Promise<string>((resolve) => {
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        stderr += text;
        const match = stderr.match(/DevTools listening on (ws:\S+)/);
        if (match) resolve(match[1]);
      });
    });
    socket = await connect(await within(address, 30_000, "Chromium's start"));
    const call = caller(socket);
    const { targetId } = await call("Target.createTarget", { url });
    const { sessionId } = await call("Target.attachToTarget", {
      targetId,
      flatten: true,
    });
    return page((method, params) => call(method, params, sessionId), close);
  } catch (error) {
    await close();
    throw error;
  }
}

type Call = (
  method: string,
  params: Record<string, unknown>,
  sessionId?: unknown,
) => Promise<Record<string, unknown>>;

/** Calls over a socket: answers come by number, in any order. */
function caller(socket: Socket): Call {
  const waiting = new Map<number, (reply: Reply) => void>();
  let last = 0;
  (async () => {
    for await (const message of socket) {
      const reply: Reply = JSON.parse(message as string);
      if (reply.id === undefined) continue;
      waiting.get(reply.id)?.(reply);
      waiting.delete(reply.id);
    }
  })().catch(() => {}); // It ends with the browser.
  return async (method, params, sessionId) => {
    const id = ++last;
    const answer = new Promise<Reply>((resolve) => waiting.set(id, resolve));
    await socket.send(JSON.stringify({ id, method, params, sessionId }));
    const { result, error } = await within(answer, 15_000, method);
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  };
}

function page(call: Call, close: () => Promise<void>): Page {
  const evaluate = async <T>(expression: string): Promise<T> => {
    const { result, exceptionDetails } = await call("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value: T }).value;
  };
  return {
    evaluate,
    until: (expression) =>
      until(() => evaluate(expression), expression, 15_000),
    async type(selector, text) {
      await evaluate(`document.querySelector("${selector}").focus()`);
      await call("Input.insertText", { text });
      for (const type of ["keyDown", "keyUp"]) {
        const key = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13 };
        await call("Input.dispatchKeyEvent", { type, ...key, text: "\r" });
      }
    },
    close,
  };
}
