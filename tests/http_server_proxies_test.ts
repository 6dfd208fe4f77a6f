import { test } from "node:test";
import { assertEquals } from "./assert.ts";
import { bodyOf, exchange, get, withServer } from "./_http_raw.ts";
import { engines } from "./_support.ts";
import type { ServeOptions } from "../http/types.ts";

const peer = "127.0.0.1";

/** The option, the fields that came, and whose request it is then. */
const rows: [ServeOptions["trustProxy"], string, string][] = [
  [undefined, "x-forwarded-for: 192.0.2.1", peer],
  [false, "forwarded: for=192.0.2.1", peer],
  [0, "x-forwarded-for: 192.0.2.1", peer],
  [true, "", peer],
  [true, "x-forwarded-for: 192.0.2.1", "192.0.2.1"],
  [true, "x-forwarded-for: 192.0.2.1, 10.0.0.1", "192.0.2.1"],
  [1, "x-forwarded-for: 192.0.2.1, 10.0.0.1", "10.0.0.1"],
  [2, "x-forwarded-for: 192.0.2.1, 10.0.0.1", "192.0.2.1"],
  [3, "x-forwarded-for: 192.0.2.1, 10.0.0.1", "192.0.2.1"],
  // A client may write what it likes in front of what the proxies add.
  [["loopback"], "x-forwarded-for: 6.6.6.6, 192.0.2.1", "192.0.2.1"],
  [
    ["loopback", "10.0.0.0/8"],
    "x-forwarded-for: 6.6.6.6, 192.0.2.1, 10.9.9.9",
    "192.0.2.1",
  ],
  [
    ["127.0.0.1", "uniquelocal"],
    "x-forwarded-for: 192.0.2.1, 172.16.3.4, 192.168.1.1",
    "192.0.2.1",
  ],
  [["127.0.0.0/8"], "x-forwarded-for: 127.0.0.9", "127.0.0.9"],
  [["10.0.0.0/8"], "x-forwarded-for: 192.0.2.1", peer],
  [["unix"], "x-forwarded-for: 192.0.2.1", peer],
  [["::ffff:127.0.0.1"], "x-forwarded-for: 192.0.2.1", peer],
  // Every line of the field counts, in order.
  [1, "x-forwarded-for: 6.6.6.6\r\nx-forwarded-for: 192.0.2.1", "192.0.2.1"],
  // Ports, IPv6, spaces.
  [true, "x-forwarded-for: 192.0.2.1:4711", "192.0.2.1"],
  [true, "x-forwarded-for: 2001:db8::1", "2001:db8::1"],
  [true, "x-forwarded-for: [2001:db8::1]", "2001:db8::1"],
  [true, "x-forwarded-for: [2001:db8::1]:443", "2001:db8::1"],
  [true, "x-forwarded-for:   192.0.2.1  ", "192.0.2.1"],
  // What is no address ends the chain.
  [true, "x-forwarded-for: unknown", peer],
  [true, "x-forwarded-for: 192.0.2.1, unknown, 10.0.0.1", "10.0.0.1"],
  [true, "x-forwarded-for: 192.0.2.256", peer],
  [true, "x-forwarded-for: 192.0.2.1:port", peer],
  [true, "x-forwarded-for: 192.0.2.01", peer],
  [true, "x-forwarded-for: [192.0.2.1]", peer],
  [true, "x-forwarded-for: [::1", peer],
  [true, "x-forwarded-for: ,", peer],
  [true, "x-forwarded-for: 192.0.2.1,", "192.0.2.1"],
  [true, "x-forwarded-for: 192.0.2.1\r\nx-forwarded-for:", "192.0.2.1"],
  [1, "x-forwarded-for: 6.6.6.6, , 192.0.2.1 ,, ", "192.0.2.1"],
  [true, "x-forwarded-for: <script>", peer],
  // RFC 7239, 4: the examples of the standard and its rules.
  [true, "forwarded: for=192.0.2.43", "192.0.2.43"],
  [true, "forwarded: For=192.0.2.43;proto=http;by=203.0.113.43", "192.0.2.43"],
  [true, 'forwarded: for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"],
  [true, "forwarded: for=192.0.2.43, for=198.51.100.17", "192.0.2.43"],
  [1, "forwarded: for=192.0.2.43, for=198.51.100.17", "198.51.100.17"],
  [
    1,
    "forwarded: for=192.0.2.43\r\nforwarded: for=198.51.100.17",
    "198.51.100.17",
  ],
  [true, 'forwarded: for="_gazonk"', peer],
  [true, "forwarded: for=unknown", peer],
  [true, "forwarded: proto=https", peer],
  [true, "forwarded: for=192.0.2.43, proto=https", peer],
  [true, 'forwarded: for="192.0.2.43:80"', "192.0.2.43"],
  [true, 'forwarded: for="192.0.2.43:_port"', "192.0.2.43"],
  [true, 'forwarded: by="a, for=6.6.6.6";for=192.0.2.43', "192.0.2.43"],
  [true, 'forwarded: by="a\\", for=6.6.6.6";for=192.0.2.43', "192.0.2.43"],
  [true, "forwarded: , for=192.0.2.43 ,, ", "192.0.2.43"],
  // Section 6: an IPv6 address must be quoted and in brackets.
  [true, "forwarded: for=2001:db8::1", peer],
  // What breaks the rules says nothing at all.
  [true, "forwarded: for=192.0.2.43;for=6.6.6.6", peer],
  [true, "forwarded: for=192.0.2.43;", peer],
  [true, "forwarded: for = 192.0.2.43", peer],
  [true, 'forwarded: for="192.0.2.43', peer],
  [true, "forwarded: 192.0.2.43", peer],
  [true, "forwarded: for=", peer],
  // Both, the same and not: a proxy lets through what it does not write.
  [true, "forwarded: for=192.0.2.1\r\nx-forwarded-for: 192.0.2.1", "192.0.2.1"],
  [true, "forwarded: for=6.6.6.6\r\nx-forwarded-for: 192.0.2.1", peer],
  [true, "forwarded: x\r\nx-forwarded-for: 192.0.2.1", peer],
];

for (const engine of engines) {
  test(`trustProxy decides whose word counts (${engine})`, async () => {
    const byOption = new Map<string, typeof rows>();
    for (const row of rows) {
      const key = JSON.stringify(row[0]);
      byOption.set(key, [...byOption.get(key) ?? [], row]);
    }
    for (const group of byOption.values()) {
      await withServer(
        (_, context) => new Response(context.clientAddress),
        { engine, trustProxy: group[0][0] },
        async (server) => {
          for (const [option, fields, client] of group) {
            const text = await exchange(
              server,
              get("/", fields === "" ? "" : `${fields}\r\n`),
            );
            assertEquals(
              bodyOf(text).replace(/^[0-9a-f]+\r\n|\r\n0\r\n\r\n$/g, ""),
              client,
              `${JSON.stringify(option)} ${fields}`,
            );
          }
        },
      );
    }
  });
}

test("trustProxy holds for requests without a socket, too", async () => {
  await withServer(
    (_, context) => new Response(context.clientAddress),
    { trustProxy: 1 },
    async (server) => {
      const headers = { "x-forwarded-for": "192.0.2.1" };
      const request = new Request(server.url, { headers });
      assertEquals(await (await server.fetch(request)).text(), "192.0.2.1");
    },
  );
});
