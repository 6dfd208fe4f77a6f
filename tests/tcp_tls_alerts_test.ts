import { connect as netConnect, createServer } from "node:net";
import { Duplex } from "node:stream";
import { connect as tlsConnect } from "node:tls";
import { describe, test } from "node:test";
import { assertEquals, assertRejects } from "./assert.ts";
import { until, within } from "./_support.ts";
import { ca, tlsRig } from "./_tls_support.ts";
import { connect, TlsError } from "../tcp/mod.ts";

/** The error of a client whose hello is answered with this alert. */
async function afterAlert(description: number): Promise<TlsError> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once(
      "data",
      () => socket.end(new Uint8Array([21, 3, 3, 0, 2, 2, description])),
    );
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as { port: number };
  try {
    return await assertRejects(
      () => within(connect({ hostname: "localhost", port, tls: { ca } })),
      TlsError,
      `Cannot agree on TLS with localhost:${port}: `,
    );
  } finally {
    await new Promise((done) => server.close(done));
  }
}

/** What a client of TLS 1.2 begins with: its alerts are not encrypted yet. */
function hello(): Promise<Uint8Array> {
  return within(
    new Promise((resolve) => {
      const socket = new Duplex({
        read() {},
        write(chunk, _, done) {
          resolve(chunk);
          done();
        },
      });
      tlsConnect({ socket, maxVersion: "TLSv1.2" }).on("error", () => {});
    }),
  );
}

describe("An alert in the handshake", () => {
  // RFC 8446 §6.2
  const alerts: [number, string, RegExp][] = [
    [10, "ERR_TLS_NOT_TLS", /: the other side does not speak TLS$/],
    [40, "ERR_TLS", /: the other side refused: handshake failure$/],
    [42, "ERR_TLS", /: the other side refused: bad certificate$/],
    [47, "ERR_TLS", /: the other side refused: illegal parameter$/],
    [48, "ERR_TLS_UNKNOWN_CA", /is of no authority that is trusted$/],
    [49, "ERR_TLS", /: the other side refused: access denied$/],
    [70, "ERR_TLS_VERSION", /: there is no TLS version that both know$/],
    [71, "ERR_TLS", /: the other side refused: insufficient security$/],
    [80, "ERR_TLS", /: the other side refused: internal error$/],
    [112, "ERR_TLS", /: the other side refused: unrecogni[sz]ed name$/],
    [116, "ERR_TLS_CLIENT_CERTIFICATE", /has shown no certificate$/],
    [120, "ERR_TLS_ALPN", /: there is no protocol that both know$/],
  ];
  for (const [description, code, message] of alerts) {
    test(`is told in words: ${description}`, async () => {
      const error = await afterAlert(description);
      assertEquals([error.code, error.phase], [code, "tls"]);
      assertEquals(message.test(error.message), true, error.message);
    });
  }

  test("is told to servers, too, when an end comes with it", async () => {
    const kit = await tlsRig();
    try {
      for (
        const [description, code] of [
          [48, "ERR_TLS_UNKNOWN_CA"],
          [45, "ERR_TLS_EXPIRED"],
        ] as const
      ) {
        kit.told.length = 0;
        const socket = netConnect(kit.port, "127.0.0.1");
        socket.on("error", () => {});
        socket.write(await hello());
        socket.once("data", () => {
          socket.end(new Uint8Array([21, 3, 3, 0, 2, 2, description]));
        });
        await until(() => kit.told.length === 1, "what the server saw");
        assertEquals(kit.told[0].code, code);
        socket.destroy();
      }
    } finally {
      await kit.close();
    }
  });
});
