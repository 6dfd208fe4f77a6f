import { spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { connect as dial, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "./assert.ts";
import { chromium, openPage } from "./_chromium.ts";
import { examplePath, Program } from "./_programs.ts";
import { needs, tool, until, within } from "./_support.ts";
import { connect as connectTcp } from "../tcp/mod.ts";
import { bind } from "../udp/mod.ts";
import { connect as connectWs } from "../ws/mod.ts";

const hostname = "127.0.0.1";

/** The demo, on ports of its own. */
class Bridge {
  readonly program: Program;
  url = "";
  tcpPort = 0;
  udpPort = 0;

  constructor(...flags: string[]) {
    const any = ["--port=0", "--tcp-port=0", "--udp-port=0"];
    this.program = new Program(examplePath("bridge/main"), [...any, ...flags]);
  }

  async opened(): Promise<this> {
    const { program } = this;
    try {
      await program.printed(/Ctrl-C/);
      const port = async (pattern: RegExp) =>
        Number((await program.printed(pattern))[1]);
      this.tcpPort = await port(/nc 127\.0\.0\.1 (\d+)/);
      this.udpPort = await port(/nc -u 127\.0\.0\.1 (\d+)/);
      this.url = (await program.printed(/(http:\S+\/)\n/))[1];
      return this;
    } catch (error) {
      await program.stop();
      throw error;
    }
  }

  publish(body: BodyInit, headers: HeadersInit = {}): Promise<Response> {
    return fetch(`${this.url}publish`, { method: "POST", body, headers });
  }
}

/** Collects what somebody hears from the bridge. */
class Ear {
  heard = "";
  #over: Promise<void>;
  #close: () => unknown;

  constructor(
    source: AsyncIterable<string | Uint8Array>,
    close: () => unknown,
  ) {
    this.#close = close;
    const decoder = new TextDecoder();
    const read = async () => {
      for await (const text of source) {
        this.heard += typeof text === "string"
          ? text
          : decoder.decode(text, { stream: true });
      }
    };
    this.#over = read().catch(() => {});
  }

  async hears(text: string): Promise<void> {
    await until(() => this.heard.includes(text), `Hearing "${text}"`, 10_000)
      .catch((error) => {
        throw new Error(`${error.message}: "${this.heard.slice(-2000)}"`);
      });
  }

  /** Its end, when the bridge ends it. */
  async over(): Promise<void> {
    await within(this.#over, 10_000, "The bridge's goodbye");
  }

  async close(): Promise<void> {
    await this.#close();
    await this.over();
  }
}

async function tcpEar(bridge: Bridge): Promise<Ear> {
  const connection = await connectTcp({ hostname, port: bridge.tcpPort });
  const ear = new Ear(connection, () => connection.destroy());
  await connection.send("I am here\n");
  await ear.hears("I am here\n"); // so it has joined
  return ear;
}

async function pageEar(bridge: Bridge): Promise<Ear> {
  const socket = await connectWs(`${bridge.url}socket`);
  const ear = new Ear(socket, () => socket.destroy());
  await ear.hears('{"type":"hello"');
  return ear;
}

async function eventsEar(bridge: Bridge): Promise<Ear> {
  const abort = new AbortController();
  const { signal } = abort;
  const response = await fetch(`${bridge.url}events`, { signal });
  assertEquals(response.headers.get("content-type"), "text/event-stream");
  const body = response.body! as unknown as AsyncIterable<Uint8Array>;
  const ear = new Ear(body, () => abort.abort());
  await ear.hears('data: {"type":"hello"');
  return ear;
}

/** Runs a tool with something to say; gives what it printed. */
async function runTool(
  name: string,
  args: string[],
  input: string,
): Promise<string> {
  const child = spawn(tool(name)!, args, { stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => output += text);
  child.stderr.resume();
  child.stdin.on("error", () => {}).end(input);
  const exit = new Promise((resolve) => child.on("close", resolve));
  try {
    await within(exit, 15_000, name);
  } finally {
    child.kill("SIGKILL");
  }
  return output;
}

describe("examples/bridge", () => {
  let bridge: Bridge;
  before(async () => {
    bridge = await new Bridge().opened();
  });
  after(() => bridge.program.stop());

  test("brings each protocol's messages to pages and TCP clients", async () => {
    const ears = [
      await tcpEar(bridge),
      await pageEar(bridge),
      await eventsEar(bridge),
    ];
    const [terminal] = ears;
    const everybodyHears = (text: string) =>
      Promise.all(ears.map((ear) => ear.hears(text)));

    const speaker = await connectTcp({ hostname, port: bridge.tcpPort });
    await speaker.send("a line\n");
    await everybodyHears("a line");
    const { port } = speaker.localAddress as { port: number };
    await terminal.hears(`tcp 127.0.0.1:${port}: a line\n`);
    speaker.destroy();

    const remote = {
      transport: "udp",
      hostname,
      port: bridge.udpPort,
    } as const;
    const socket = await bind({ remote });
    await socket.send({ data: "a datagram\n" });
    await everybodyHears("a datagram");
    await socket.close();

    const response = await bridge.publish("a post");
    assertEquals(response.status, 200);
    assertMatch(await response.text(), /^Told \d listeners\n$/);
    await everybodyHears("a post");

    const named = await connectWs(`${bridge.url}socket?name=Ann`);
    await named.send("a message");
    await everybodyHears("a message");
    await terminal.hears("ws Ann: a message\n");
    named.destroy();
    for (const ear of ears) await ear.close();
  });

  test("is reached by nc and heard by it", { skip: needs("nc") }, async () => {
    const ear = await pageEar(bridge);
    const port = String(bridge.tcpPort);
    // -w ends it after a second in which nothing comes.
    const output = await runTool(
      "nc",
      ["-w", "1", hostname, port],
      "from nc\n",
    );
    await ear.hears("from nc");
    assertMatch(output, /^tcp 127\.0\.0\.1:\d+: from nc\n/);
    await ear.close();
  });

  test("is reached by nc -u", { skip: needs("nc") }, async () => {
    const ear = await tcpEar(bridge);
    const args = ["-u", "-w", "1", hostname, String(bridge.udpPort)];
    await runTool("nc", args, "from nc -u\n");
    await ear.hears(": from nc -u\n");
    await ear.close();
  });

  test("is reached by curl as it says", { skip: needs("curl") }, async () => {
    const ear = await tcpEar(bridge);
    const [, url] = await bridge.program.printed(
      /curl -d "hello from curl" (\S+)/,
    );
    const output = await runTool(
      "curl",
      ["-s", "-d", "hello from curl", url],
      "",
    );
    assertStringIncludes(output, "Told ");
    await ear.hears(": hello from curl\n");
    await ear.close();
  });

  test("shows who is connected, and what was said, to a new page", async () => {
    const terminal = await tcpEar(bridge);
    await bridge.publish("said before");
    const page = await pageEar(bridge);
    // Another message may stand right behind it by now.
    const end = page.heard.indexOf("}{") + 1;
    const hello = JSON.parse(end > 0 ? page.heard.slice(0, end) : page.heard);
    // Those of the test before may be on their way out still.
    assert(hello.here.tcp >= 1);
    assert(hello.here.ws >= 1);
    assertEquals(hello.messages.at(-1).text, "said before");
    await terminal.close();
    await page.hears('"here":{"tcp":0');
    await page.close();
  });

  test("takes lines however they are cut, long or broken", async () => {
    const ear = await tcpEar(bridge);
    const raw = dial(bridge.tcpPort, hostname).on("error", () => {});
    const text = new TextEncoder().encode("Grüße aus Köln 👋\r\n");
    for (const byte of text) {
      raw.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ear.hears(": Grüße aus Köln 👋\n");
    raw.write("x".repeat(300_000) + "\n");
    raw.write(Uint8Array.of(0xff, 0xfe, 0, 0x1b, 0x5b, 0x32, 0x4a, 0x0a));
    raw.end("the last line has no newline");
    await ear.hears(": the last line has no newline\n");
    const lines = ear.heard.split("\n");
    assertEquals(
      lines.find((line) => line.endsWith("x…"))!.length < 4200,
      true,
    );
    // An escape sequence of one client cannot reach the terminal of another.
    assert(!ear.heard.includes("\x1b"));
    await ear.close();
  });

  test("keeps what is sent as one message in one line", async () => {
    const ear = await tcpEar(bridge);
    await bridge.publish("one\ntcp 1.2.3.4:5: forged\u2028\u202e\x1b[2J");
    await ear.hears(": one tcp 1.2.3.4:5: forged [2J\n");
    await ear.close();
  });

  test("refuses what is too long", async () => {
    assertEquals((await bridge.publish("x".repeat(20_000))).status, 413);
    const socket = await connectWs(`${bridge.url}socket`);
    await socket.send("x".repeat(20_000));
    const { code } = await within(socket.closed, 5000, "The refusal");
    assertEquals(code, 1009);
  });

  test("refuses pages of other sites, and what it does not serve", async () => {
    for (
      const origin of ["http://evil.example", "null", "http://127.0.0.1:1"]
    ) {
      const response = await bridge.publish("from afar", { origin });
      assertEquals(response.status, 403);
      await response.body?.cancel();
      const refused = await connectWs(`${bridge.url}socket`, {
        headers: { origin },
      }).then((socket) => socket.destroy(), () => "refused");
      assertEquals(refused, "refused");
    }
    const origin = new URL(bridge.url).origin;
    assertEquals((await bridge.publish("mine", { origin })).status, 200);
    assertEquals((await fetch(`${bridge.url}nothing`)).status, 404);
    assertEquals((await fetch(`${bridge.url}publish`)).status, 404);
  });

  test("does not wait for a client that never reads", async () => {
    const deaf = dial(bridge.tcpPort, hostname).on("error", () => {});
    await new Promise((resolve) => deaf.once("connect", resolve));
    deaf.pause();
    const ear = await pageEar(bridge);
    const speaker = dial(bridge.tcpPort, hostname).on("error", () => {});
    speaker.resume();
    const line = "y".repeat(2000) + "\n";
    for (let i = 0; i < 5000; i++) {
      if (speaker.write(line)) continue;
      await within(
        new Promise((resolve) => speaker.once("drain", resolve)),
        10_000,
        "Room for more lines",
      );
    }
    speaker.write("after the flood\n");
    await ear.hears("after the flood");
    speaker.destroy();
    deaf.destroy();
    await ear.close();
  });

  test("shows a terminal's line in Chromium, and the reverse", {
    skip: chromium === undefined && "not installed: chromium",
  }, async () => {
    for (const query of ["", "?sse"]) {
      const terminal = await tcpEar(bridge);
      const page = await openPage(bridge.url + query);
      try {
        const link = query === "" ? "WebSocket" : "SSE";
        await page.until(
          `document.querySelector("#link")?.textContent === "Live over ${link}"`,
        );
        await bridge.publish(`<b>seen</b> over ${link}`);
        await page.until(
          `[...document.querySelectorAll("#log .text")]` +
            `.some((row) => row.textContent === "<b>seen</b> over ${link}")`,
        );
        await page.type("#text", `typed over ${link}`);
        await terminal.hears(`: typed over ${link}\n`);
        await page.until(`document.querySelector("#text").value === ""`);
        const said = await page.evaluate<string>(
          `document.querySelector("#people").textContent`,
        );
        assertStringIncludes(said, "you");
      } finally {
        await page.close();
        await terminal.close();
      }
    }
  });
});

test("examples/bridge ends in order at a SIGTERM", async () => {
  const bridge = await new Bridge().opened();
  try {
    const ears = [
      await tcpEar(bridge),
      await pageEar(bridge),
      await eventsEar(bridge),
    ];
    bridge.program.kill("SIGTERM");
    assertEquals(await within(bridge.program.exit, 10_000, "The end"), 0);
    for (const ear of ears) await ear.over();
    assertEquals(bridge.program.stderr, "");
  } finally {
    await bridge.program.stop();
  }
});

test("examples/bridge says which flag to change when a port is taken", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, hostname, resolve));
  const socket = await bind({ hostname });
  const taken = {
    port: server.address() as AddressInfo,
    "tcp-port": server.address() as AddressInfo,
    "udp-port": socket.address as { port: number },
  };
  for (const [flag, { port }] of Object.entries(taken)) {
    const { program } = new Bridge(`--${flag}=${port}`);
    try {
      assertEquals(await within(program.exit, 20_000, "The refusal"), 1);
      assertStringIncludes(program.stderr, `--${flag}=N takes another`);
    } finally {
      await program.stop();
    }
  }
  socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});
