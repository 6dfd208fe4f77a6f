import { execFile } from "node:child_process";
import * as nodeTls from "node:tls";
import { test } from "node:test";
import { assertEquals, assertRejects } from "./assert.ts";
import { withServer } from "./_http_raw.ts";
import { engines, needs, runtime, within } from "./_support.ts";
import { pem } from "./_tls_support.ts";
import { serve } from "../http/serve.ts";
import type { HttpServer, ServeOptions } from "../http/types.ts";

const tls = { cert: pem("server.pem"), key: pem("server.key") };
const skip = needs("curl");

function portOf(server: HttpServer): number {
  const { address } = server;
  return address.transport === "unix" ? 0 : address.port;
}

/** The version curl spoke and the body it got, or that it failed. */
function curl(server: HttpServer, ...args: string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(
      "curl",
      [
        "-sk",
        "--max-time",
        "10",
        "-w",
        " %{http_version}",
        ...args,
        server.url,
      ],
      (error, stdout) => resolve(error === null ? stdout : "failed"),
    );
  });
}

/** What ALPN agrees on; `""` for nothing, `undefined` for a refusal. */
function agree(
  server: HttpServer,
  protocols: string[],
): Promise<string | undefined> {
  return within(
    new Promise((resolve) => {
      const socket = nodeTls.connect({
        host: "127.0.0.1",
        port: portOf(server),
        rejectUnauthorized: false,
        ALPNProtocols: protocols,
      }, () => {
        resolve(socket.alpnProtocol || "");
        socket.destroy();
      });
      socket.on("error", () => resolve(undefined));
    }),
  );
}

/** Tells the protocol, or that it cannot be told. */
const tell: Parameters<typeof serve>[0] = (_, context) => {
  let protocol: string;
  try {
    protocol = context.protocol;
  } catch (error) {
    protocol = error instanceof TypeError ? "untold" : "failed";
  }
  return new Response(protocol);
};

type Protocols = ServeOptions["protocols"];

const one: Protocols = ["http/1.1"];
const two: Protocols = ["h2"];
const both: Protocols = ["h2", "http/1.1"];

test("protocols: the wire engine speaks what is listed, by prior knowledge", {
  skip,
}, async () => {
  const rows: [Protocols, string | undefined, string | undefined][] = [
    [undefined, "http/1.1 1.1", undefined],
    [one, "http/1.1 1.1", undefined],
    [two, undefined, "h2 2"],
    [both, "http/1.1 1.1", "h2 2"],
  ];
  for (const [protocols, first, second] of rows) {
    await withServer(tell, { protocols }, async (server) => {
      const plain = await curl(server, "--http1.1");
      assertEquals(plain.includes("http/1.1"), first !== undefined);
      if (first !== undefined) assertEquals(plain, first);
      const prior = await curl(server, "--http2-prior-knowledge");
      assertEquals(prior.includes("h2"), second !== undefined);
      if (second !== undefined) assertEquals(prior, second);
    });
  }
});

test("protocols: the wire engine speaks what is listed, by ALPN", {
  skip,
}, async () => {
  const rows: [Protocols, string, string][] = [
    [undefined, "http/1.1 1.1", "h2 2"],
    [one, "http/1.1 1.1", "http/1.1 1.1"],
    [two, "failed", "h2 2"],
    [both, "http/1.1 1.1", "h2 2"],
    [["http/1.1", "h2"], "http/1.1 1.1", "http/1.1 1.1"],
  ];
  for (const [protocols, first, second] of rows) {
    await withServer(tell, { protocols, tls }, async (server) => {
      assertEquals(await curl(server, "--http1.1"), first);
      assertEquals(await curl(server, "--http2"), second);
      const [preferred] = protocols ?? both;
      assertEquals(await agree(server, both), preferred);
      if (protocols?.length === 1) {
        const other = preferred === "h2" ? "http/1.1" : "h2";
        assertEquals(await agree(server, [other]), undefined);
      }
    });
  }
});

/** Options, what curl gets with `--http1.1` and with `--http2`. */
const rows: [ServeOptions, string, string][] = runtime === "deno"
  ? [
    [{ tls }, "untold 1.1", "untold 2"],
    [{ tls, protocols: ["http/1.1", "h2"] }, "untold 1.1", "untold 2"],
  ]
  : [
    [{ tls }, "untold 1.1", "untold 2"],
    [{ tls, protocols: ["http/1.1", "h2"] }, "untold 1.1", "untold 2"],
    [{ tls, protocols: ["http/1.1"] }, "http/1.1 1.1", "http/1.1 1.1"],
    [{ tls, protocols: ["h2"] }, "failed", "h2 2"],
    [{}, "http/1.1 1.1", "http/1.1 1.1"],
  ];

for (const engine of engines.filter((name) => name === "native")) {
  test("protocols: the runtime's own server speaks what is listed", {
    skip,
  }, async () => {
    for (const [options, first, second] of rows) {
      await withServer(tell, { ...options, engine }, async (server) => {
        assertEquals(await curl(server, "--http1.1"), first);
        assertEquals(await curl(server, "--http2"), second);
      });
    }
  });

  test("protocols: Deno is told no other list, Bun none without TLS that needs it", async () => {
    const refused: ServeOptions["protocols"][] = runtime === "deno"
      ? [["http/1.1"], ["h2"], ["h2", "http/1.1", "h3"]]
      : [["h3"]];
    for (const protocols of refused) {
      await assertRejects(
        () =>
          serve(tell, {
            engine,
            port: 0,
            protocols,
            ...(runtime === "deno" && { tls }),
          }),
        TypeError,
        "protocols",
      );
    }
  });
}

if (runtime === "bun") {
  test("protocols: Bun's own server speaks HTTP/3 when it is asked to", async () => {
    await withServer(
      tell,
      { engine: "native", tls, protocols: ["h3", "h2", "http/1.1"] },
      async (server) => {
        const response = await within(
          fetch(server.url, {
            protocol: "http3",
            tls: { rejectUnauthorized: false },
          } as RequestInit),
        );
        assertEquals(await response.text(), "untold");
      },
    );
  });
}
