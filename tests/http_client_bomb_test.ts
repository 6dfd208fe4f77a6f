import * as zlib from "node:zlib";
import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { withClient } from "./_client_support.ts";
import { nodeServer } from "./_http_servers.ts";
import { until } from "./_support.ts";
import { FetchError } from "../http/errors.ts";
import { SizeLimitError } from "../streams/errors.ts";

const MIB = 1024 * 1024;
const LIMIT = 100_000;

type Encode = (bytes: Uint8Array) => Uint8Array;

/** zstd is not in every Node. */
const { zstdCompressSync } = zlib as { zstdCompressSync?: Encode };

const codings: [name: string, field: string, encode: Encode | undefined][] = [
  ["gzip", "gzip", (bytes) => zlib.gzipSync(bytes)],
  ["deflate", "deflate", (bytes) => zlib.deflateSync(bytes)],
  ["raw deflate", "deflate", (bytes) => zlib.deflateRawSync(bytes)],
  ["br", "br", (bytes) =>
    zlib.brotliCompressSync(bytes, {
      params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 },
    })],
  ["zstd", "zstd", zstdCompressSync],
  [
    "gzip in gzip",
    "gzip, gzip",
    (bytes) => zlib.gzipSync(zlib.gzipSync(bytes)),
  ],
];

function serving(field: string, body: Uint8Array) {
  return nodeServer((_, response) => {
    response.setHeader("content-encoding", field);
    response.end(body);
  });
}

async function tooLarge(run: () => Promise<unknown>): Promise<void> {
  const error = await assertRejects(run, FetchError);
  assertEquals(error.phase, "body");
  assert(error.cause instanceof SizeLimitError);
  assertEquals(error.cause.limit, LIMIT);
}

describe("maxResponseSize", () => {
  for (const [name, field, encode] of codings) {
    // Node 20 has no zstd: the support table says so.
    if (encode === undefined) continue;
    test(`stops a bomb of ${name}`, () => {
      const bomb = encode(new Uint8Array(16 * MIB));
      assert(bomb.length < LIMIT, `${bomb.length}`);
      return withClient(serving(field, bomb), async (client, server) => {
        await tooLarge(() => client.get(server.url).bytes());
        await tooLarge(() => client.get(server.url).text());
        // Piece by piece no more than that comes out.
        let size = 0;
        await tooLarge(async () => {
          const { body } = await client.get(server.url);
          for await (const chunk of body!) size += chunk.length;
        });
        assert(size <= LIMIT, `${size}`);
        await until(() => client.stats().open === client.stats().idle);
      }, { maxResponseSize: LIMIT });
    });

    test(`takes ${name} of just that size`, () =>
      withClient(
        serving(field, encode(new Uint8Array(LIMIT))),
        async (client, { url }) => {
          assertEquals((await client.get(url).bytes()).length, LIMIT);
        },
        { maxResponseSize: LIMIT },
      ));

    test(`counts ${name} as it comes, too`, () => {
      const noise = crypto.getRandomValues(new Uint8Array(60_000));
      const body = encode(Uint8Array.from([...noise, ...noise.reverse()]));
      assert(body.length > LIMIT);
      return withClient(serving(field, body), async (client, { url }) => {
        await tooLarge(() => client.get(url).bytes());
        await tooLarge(() => client.get(url, { decompress: false }).bytes());
      }, { maxResponseSize: LIMIT });
    });
  }

  test("does not let codings be piled up", () =>
    withClient(
      serving("gzip, gzip, gzip, gzip, gzip", new Uint8Array(10)),
      async (client, { url }) => {
        await assertRejects(() => client.get(url).bytes(), FetchError);
      },
    ));
});
