import * as http from "node:http";
import * as zlib from "node:zlib";
import type { HttpServer } from "../http/types.ts";
import { within } from "./_support.ts";

const decoders = {
  br: () => zlib.createBrotliDecompress(),
  gzip: () => zlib.createGunzip(),
  deflate: () => zlib.createInflate(),
  zstd: () =>
    (zlib as unknown as { createZstdDecompress(): zlib.Gunzip })
      .createZstdDecompress(),
};

/** The codings that this runtime has. */
export const codings = ["br", "zstd", "gzip", "deflate"].filter((coding) =>
  coding !== "zstd" || "createZstdDecompress" in zlib
) as (keyof typeof decoders)[];

/** A response as it came, and decoded. */
export interface Raw {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  /** Bytes on the wire. */
  readonly size: number;
  readonly text: string;
}

/** Starts a decoder for what a response says of itself. */
export function decoder(coding: string): zlib.Gunzip {
  return decoders[coding as keyof typeof decoders]() as zlib.Gunzip;
}

/** One request by node:http, which decodes nothing. */
export function ask(
  server: HttpServer,
  accept: string | undefined,
  { path = "/", method = "GET", headers = {} }: {
    path?: string;
    method?: string;
    headers?: Record<string, string>;
  } = {},
): Promise<Raw> {
  const fields = accept === undefined
    ? headers
    : { "accept-encoding": accept, ...headers };
  return within(
    new Promise((resolve, reject) => {
      const { port } = server.address as { port: number };
      const request = http.request({
        host: "127.0.0.1",
        port,
        path,
        method,
        headers: fields,
        agent: false,
      }, (response) => {
        const chunks: Uint8Array[] = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const bytes = Buffer.concat(chunks);
          const coding = response.headers["content-encoding"];
          const text = coding === undefined || bytes.length === 0
            ? Promise.resolve(bytes.toString())
            : decoded(coding, bytes);
          text.then((text) =>
            resolve({
              status: response.statusCode!,
              headers: response.headers,
              trailers: response.trailers,
              size: bytes.length,
              text,
            }), reject);
        });
      });
      request.on("error", reject);
      request.end();
    }),
    10_000,
    "The response",
  );
}

function decoded(coding: string, bytes: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const stream = decoder(coding);
    let text = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk) => text += chunk);
    stream.on("end", () => resolve(text));
    stream.on("error", reject);
    stream.end(bytes);
  });
}
