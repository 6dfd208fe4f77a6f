import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { runtime, until, within } from "./_support.ts";
import { pem } from "./_tls_support.ts";
import * as http from "../http/mod.ts";
import { hexDump } from "../streams/mod.ts";
import { connect, serve } from "../tcp/mod.ts";
import type { Connection, Server, Wiretap, WiretapEvent } from "../tcp/mod.ts";
import * as ws from "../ws/mod.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const TLS = { cert: pem("server.pem"), key: pem("server.key") };

/** Writes down what a tap is told: bytes in a row of one kind are one. */
class Tap {
  readonly events: WiretapEvent[] = [];
  readonly lines: string[] = [];

  readonly tell: Wiretap = (event) => {
    this.events.push(event);
    const { lines } = this;
    if (!("bytes" in event)) {
      lines.push(event.type);
      return;
    }
    const text = new TextDecoder().decode(event.bytes);
    const last = lines.length - 1;
    if (lines[last]?.startsWith(`${event.type} `)) lines[last] += text;
    else lines.push(`${event.type} ${text}`);
  };

  /** What there is of a kind. */
  all(type: string): string {
    return this.lines.filter((line) => line.startsWith(`${type} `))
      .map((line) => line.slice(type.length + 1)).join("");
  }

  get over(): boolean {
    return this.lines.at(-1) === "close";
  }
}

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.send(chunk);
}

function portOf({ address }: Server): number {
  assert(address.transport === "tcp");
  return address.port;
}

describe("wiretap", () => {
  for (const secure of [false, true]) {
    const name = secure ? "TLS" : "TCP";
    test(`\`wiretap\` tells all of a ${name} connection, on both sides`, async () => {
      const [here, there] = [new Tap(), new Tap()];
      const server = await serve(echo, {
        ...LOCAL,
        tls: secure ? TLS : undefined,
        wiretap: there.tell,
      });
      try {
        const connection = await connect({
          ...LOCAL,
          port: portOf(server),
          tls: secure && { ca: pem("ca.pem"), serverName: "localhost" },
          wiretap: here.tell,
        });
        await connection.send("hello");
        assertEquals((await within(connection.read(5)))!.byteLength, 5);
        await within(connection.close());
        await until(() => here.over && there.over, "the closes");
        assertEquals(here.lines, [
          ...["open", "write hello", "read hello", "end", "close"],
        ]);
        assertEquals(there.lines, [
          ...["open", "read hello"],
          ...(there.lines.indexOf("end") === 2
            ? ["end", "write hello"]
            : ["write hello", "end"]),
          "close",
        ]);
        for (const event of here.events) {
          assertEquals(event.remoteAddress, connection.remoteAddress);
          assertEquals(event.localAddress, connection.localAddress);
        }
        const read = here.events.find(({ type }) => type === "read")!;
        assert("bytes" in read && hexDump(read.bytes).includes("|hello|"));
      } finally {
        await within(server.close());
      }
    });
  }

  test("`wiretap` tells why a connection broke", async () => {
    const tap = new Tap();
    const server = createServer((socket) => {
      socket.once("data", () => socket.resetAndDestroy());
    });
    await new Promise<void>((resolve) =>
      server.listen(0, "127.0.0.1", resolve)
    );
    try {
      const connection = await connect({
        ...LOCAL,
        port: (server.address() as AddressInfo).port,
        wiretap: tap.tell,
      });
      await connection.send("x");
      await within(connection.closed);
      await until(() => tap.over, "the close");
      assertEquals(tap.lines, ["open", "write x", "error", "close"]);
      const told = tap.events[2];
      assert(told.type === "error");
      assertEquals(told.error.code, "ECONNRESET");
    } finally {
      await within(new Promise((resolve) => server.close(resolve)));
    }
  });

  test("`wiretap` that throws or rejects breaks nothing", async () => {
    let calls = 0;
    const server = await serve(echo, {
      ...LOCAL,
      wiretap() {
        calls++;
        throw new Error("mine");
      },
    });
    try {
      const connection = await connect({
        ...LOCAL,
        port: portOf(server),
        wiretap: () => Promise.reject(new Error("mine, too")),
      });
      await connection.send("hello");
      assertEquals((await within(connection.read(5)))!.byteLength, 5);
      await within(connection.close());
      assertEquals(await connection.closed, { clean: true });
      await until(() => server.stats().connections === 0, "the close");
      assert(calls >= 4, String(calls));
    } finally {
      await within(server.close());
    }
  });

  test("`wiretap` keeps backpressure", async () => {
    const tap = new Tap();
    let size = 0;
    const server = await serve(echo, {
      ...LOCAL,
      highWaterMark: 1024,
      wiretap: (event) => {
        if (event.type === "read") size += event.bytes.byteLength;
      },
    });
    try {
      const connection = await connect({ ...LOCAL, port: portOf(server) });
      const body = new Uint8Array(1_000_000).fill(7);
      const sending = (async () => {
        await connection.send(body);
        await connection.closeWrite();
      })();
      let got = 0;
      for await (const chunk of connection) got += chunk.byteLength;
      await within(sending);
      assertEquals([got, size], [1_000_000, 1_000_000]);
      await within(connection.close());
      assertEquals(tap.lines, []);
    } finally {
      await within(server.close());
    }
  });

  test("`wiretap` must be a function", async () => {
    const wiretap = "yes" as unknown as Wiretap;
    const server = await serve(echo, LOCAL);
    const where = { ...LOCAL, port: portOf(server) };
    await assertRejects(
      () => serve(echo, { ...LOCAL, wiretap }),
      TypeError,
      "wiretap",
    );
    await assertRejects(
      () => connect({ ...where, wiretap }),
      TypeError,
      "wiretap",
    );
    await assertRejects(
      () => ws.connect(`ws://127.0.0.1:${where.port}/`, { wiretap }),
      TypeError,
      "wiretap",
    );
    await assertRejects(
      // deno-lint-ignore require-await
      async () => new http.Client({ wiretap }),
      TypeError,
      "wiretap",
    );
    await within(server.close());
  });

  test("`wiretap` of http.serve() and of a Client tells HTTP", async () => {
    const [here, there] = [new Tap(), new Tap()];
    const server = await http.serve(() => new http.Response("hello"), {
      ...LOCAL,
      wiretap: there.tell,
    });
    const client = new http.Client({ wiretap: here.tell });
    try {
      const response = await within(client.fetch(`${server.url}path`));
      assertEquals(await within(response.text()), "hello");
      await within(client.close());
      await within(server.close());
      await until(() => here.over && there.over, "the closes");
      assertEquals(here.lines[0], "open");
      assert(here.all("write").startsWith("GET /path HTTP/1.1\r\n"));
      assert(here.all("read").endsWith("\r\n\r\nhello"));
      assertEquals(there.all("read"), here.all("write"));
      assertEquals(there.all("write"), here.all("read"));
    } finally {
      await client.close();
      await server.close();
    }
  });

  test("`wiretap` of ws.connect() tells the handshake and frames", async () => {
    const [here, there] = [new Tap(), new Tap()];
    const server = await http.serve(
      (request) => ws.upgrade(request, (socket) => socket.send("welcome")),
      { ...LOCAL, wiretap: there.tell },
    );
    try {
      const socket = await ws.connect(server.url, { wiretap: here.tell });
      assertEquals(await within(socket.closed.then(() => 0)), 0);
      await until(() => here.over && there.over, "the closes");
      assert(here.all("write").startsWith("GET / HTTP/1.1\r\n"));
      assert(here.all("read").includes("welcome"));
      assertEquals(there.all("write"), here.all("read"));
    } finally {
      await within(server.close());
    }
  });

  for (
    const option of runtime === "node" ? [] : ["proxyProtocol", "wiretap"]
  ) {
    test(`\`${option}\` is refused by the native engines`, async () => {
      await assertRejects(
        () =>
          http.serve(() => new Response(), {
            ...LOCAL,
            engine: "native",
            ...(option === "wiretap" ? { wiretap() {} } : { [option]: true }),
          }),
        TypeError,
        option,
      );
    });
  }
});
