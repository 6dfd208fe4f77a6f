import { connect as dial } from "node:net";
import { readdir } from "node:fs/promises";
import process from "node:process";
import { test } from "node:test";
import { assertEquals, assertMatch } from "./assert.ts";
import { text } from "../streams/mod.ts";
import { connect, serve } from "../tcp/mod.ts";
import { connect as connectWs } from "../ws/mod.ts";
import { echoes } from "./_echoes.ts";
import { Client } from "../http/mod.ts";
import { examplePath, Program, runExample } from "./_programs.ts";
import { runtime, until, within } from "./_support.ts";

const hostname = "127.0.0.1";
const isNode20 = runtime === "node" && process.version.startsWith("v20.");

async function running(
  name: string,
  use: (program: Program) => Promise<void>,
  ...rest: string[]
): Promise<void> {
  const program = await runExample(name, rest);
  try {
    await use(program);
    assertEquals(
      program.stderr.replace(/.*ExperimentalWarning.*\n.*\n/, ""),
      "",
    );
  } finally {
    await program.stop();
  }
}

for (const [protocol, check] of Object.entries(echoes)) {
  test(`examples/echo_${protocol} echoes`, () =>
    running(`echo_${protocol}`, check));
}

test("examples/sse sends events until the client leaves", () =>
  running("sse", async (program) => {
    const abort = new AbortController();
    const { signal } = abort;
    const response = await fetch(`http://127.0.0.1:${await program.port()}/`, {
      signal,
    });
    assertEquals(response.headers.get("content-type"), "text/event-stream");
    const reader = response.body!.getReader();
    const { value } = await within(reader.read(), 5000, "An event");
    assertEquals(new TextDecoder().decode(value), "id: 1\ndata: tick 1\n\n");
    abort.abort();
  }));

test("examples/proxy_tcp forwards both ways, and each side's end", async () => {
  const heard: string[] = [];
  const target = await serve(async (connection) => {
    for await (const chunk of connection) {
      heard.push(new TextDecoder().decode(chunk));
    }
    await connection.send("I heard the end");
  }, { hostname, port: 0 });
  const { port: targetPort } = target.address as { port: number };
  try {
    await running(
      "proxy_tcp",
      async (program) => {
        const connection = await connect({
          hostname,
          port: await program.port(),
        });
        try {
          await connection.send("through the proxy");
          await until(
            () => heard.join("") === "through the proxy",
            "The bytes",
          );
          await connection.closeWrite();
          const answer = await connection.receive({ timeout: 5000 });
          assertEquals(new TextDecoder().decode(answer), "I heard the end");
          assertEquals(await connection.receive({ timeout: 5000 }), undefined);
        } finally {
          connection.destroy();
        }
      },
      "0",
      hostname,
      String(targetPort),
    );
  } finally {
    await target.close({ timeout: 0 });
  }
});

test("examples/proxy_tcp lets go of the target when a client is reset", async () => {
  let ended = 0;
  const target = await serve(async (connection) => {
    while (await connection.receive() !== undefined);
    ended++;
  }, { hostname, port: 0 });
  const { port: targetPort } = target.address as { port: number };
  try {
    await running(
      "proxy_tcp",
      async (program) => {
        const client = dial(await program.port(), hostname).on(
          "error",
          () => {},
        );
        client.write("hello");
        await until(() => target.stats().accepted === 1, "The way through");
        client.resetAndDestroy();
        await until(() => ended === 1, "The target's end");
        program.stderr = ""; // where it said that it was reset
      },
      "0",
      hostname,
      String(targetPort),
    );
  } finally {
    await target.close({ timeout: 0 });
  }
});

test("examples/graceful answers what it began, then ends", () =>
  running("graceful", async (program) => {
    const port = await program.port();
    const answer = fetch(`http://127.0.0.1:${port}/slow`);
    // The request is with the server once another one is answered after it.
    await (await fetch(`http://127.0.0.1:${port}/`)).text();
    program.kill("SIGTERM");
    await program.printed(/Closing/);
    assertEquals(await (await within(answer, 5000, "Answer")).text(), "done\n");
    assertEquals(await within(program.exit, 5000, "The end"), 0);
    assertMatch(program.stdout, /Closed\n$/);
  }));

test("examples/hono serves routes and a WebSocket", () =>
  running("hono", async (program) => {
    const port = await program.port();
    const response = await fetch(`http://127.0.0.1:${port}/`);
    assertEquals(await response.text(), "Hello, 127.0.0.1\n");
    const socket = await connectWs(`ws://127.0.0.1:${port}/echo`);
    await socket.send("hello");
    assertEquals(await socket.receive({ timeout: 5000 }), "hello");
    socket.destroy();
  }));

test("examples/fetch_public fetches nothing of our own network", async () => {
  const target = await serve(() => {}, { hostname, port: 0 });
  const { port: inside } = target.address as { port: number };
  try {
    await running("fetch_public", async (program) => {
      const port = await program.port();
      for (
        const host of [
          ...["localhost", "127.0.0.1", "127.1", "0x7f000001", "2130706433"],
          ...["0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "10.0.0.1"],
          ...["[::ffff:7f00:1]", "169.254.169.254", "192.168.1.1", "[fd00::1]"],
          ...["[fe80::1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]"],
        ]
      ) {
        const url = encodeURIComponent(`http://${host}:${inside}/`);
        const response = await fetch(`http://${hostname}:${port}/?url=${url}`);
        const text = await response.text();
        assertEquals([host, response.status], [host, 403]);
        assertMatch(text, /Cannot look up .*: it is not of the public network/);
      }
    });
    assertEquals(target.stats().accepted, 0);
  } finally {
    await target.close({ timeout: 0 });
  }
});

test("examples/every_core deals connections out to its workers", async () => {
  if (isNode20) {
    // The one runtime that cannot share a port says so.
    const program = new Program(examplePath("every_core"), ["0"]);
    try {
      assertEquals(await within(program.exit, 20_000, "The end"), 1);
      assertMatch(program.stderr, /reusePort: Node has it from 22\.12 on/);
    } finally {
      await program.stop();
    }
    return;
  }
  // Holds the port until the workers share it.
  const holder = await serve(() => {}, { hostname, port: 0, reusePort: true });
  const { port } = holder.address as { port: number };
  const program = new Program(examplePath("every_core"), [String(port)]);
  try {
    await program.printed(/(Worker \d+: [^]*){2}/);
    await holder.close({ timeout: 0 });
    const pids = new Set<string>();
    const client = new Client({ pool: { idleTimeout: 1 } });
    for (let i = 0; pids.size < 2 && i < 500; i++) {
      const headers = { connection: "close" };
      pids.add(
        await client.get(`http://${hostname}:${port}/`, { headers }).text(),
      );
    }
    await client.close();
    assertEquals(pids.size, 2, [...pids].join());
    // Ctrl-C tells a worker twice: the terminal does, and who manages it.
    const busy = await connect({ hostname, port });
    await busy.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    await within(Promise.resolve(busy.receive()));
    await busy.send("GET / HTTP/1.1\r\nhost: x\r\n");
    program.kill("SIGINT");
    await until(async () => {
      const other = await connect({ hostname, port }).catch(() => {});
      other?.destroy();
      return other === undefined;
    }, "The end of listening");
    for (const [, pid] of program.stdout.matchAll(/Worker (\d+):/g)) {
      try {
        process.kill(Number(pid), "SIGINT");
      } catch {
        // The one without a request has ended.
      }
    }
    await busy.send("\r\n");
    assertMatch(await within(text(busy)), /200 OK[^]*Worker/);
    assertEquals(await within(program.exit, 10_000, "The end"), 0);
    assertEquals(
      program.stderr.replace(/.*ExperimentalWarning.*\n.*\n/, ""),
      "",
    );
  } finally {
    await holder.close({ timeout: 0 });
    await program.stop();
  }
});

test("every example is run by a test", async () => {
  const tested =
    /^(bridge|channel|chat-cluster|every_core|echo_(http|ws|tcp|udp)|sse|proxy_tcp|graceful|fetch_public|hono)$/;
  for (const name of await readdir(new URL("../examples/", import.meta.url))) {
    assertMatch(name.replace(/\.[jt]s$/, ""), tested);
  }
});
