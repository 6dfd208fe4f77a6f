/**
 * The servers that `http.ts` measures, one a process: `wire` and `native` are
 * ours, `raw` is the runtime's own. Prints the port it listens on.
 */
import * as http from "node:http";
import * as http2 from "node:http2";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import {
  installRequest,
  installResponse,
  Response as LightResponse,
  serve,
} from "../../http/mod.ts";

type Handler = (request: Request) => Response | Promise<Response>;

interface Globals {
  Deno?: {
    serve(
      options: object,
      handler: Handler,
    ): { addr: { port: number } };
  };
  Bun?: {
    serve(options: { fetch: Handler } & object): { port: number };
  };
}

const globals = globalThis as unknown as Globals;
const [kind, scenario] = process.argv.slice(2);
if (kind === "installed") {
  installRequest();
  installResponse();
}
const Response = kind === "light" ? LightResponse : globalThis.Response;
const CHUNK = new Uint8Array(64 * 1024).fill(120);

function tenMiB(): ReadableStream<Uint8Array<ArrayBuffer>> {
  let left = 160;
  return new ReadableStream({
    pull(controller) {
      if (left-- === 0) controller.close();
      else controller.enqueue(CHUNK.slice());
    },
  });
}

const handlers: Record<string, Handler> = {
  text: () => new Response("Hello, World!"),
  json: (request) =>
    Response.json({ agent: request.headers.get("user-agent"), a: [1, 2, 3] }),
  echo: async (request) => new Response(await request.arrayBuffer()),
  pass: (request) => new Response(request.body),
  stream: () => new Response(tenMiB()),
  http2: () => new Response("Hello, World!"),
};
const handler = handlers[scenario];

/** node:http as one would write it by hand, without any standard object. */
const listeners: Record<
  string,
  (request: IncomingMessage, response: ServerResponse) => void
> = {
  text(_, response) {
    response.writeHead(200, { "content-type": "text/plain;charset=UTF-8" });
    response.end("Hello, World!");
  },
  json(request, response) {
    response.writeHead(200, { "content-type": "application/json" });
    const agent = request.headers["user-agent"];
    response.end(JSON.stringify({ agent, a: [1, 2, 3] }));
  },
  echo(request, response) {
    const chunks: Uint8Array[] = [];
    request.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    request.on("end", () => {
      let size = 0;
      for (const chunk of chunks) size += chunk.byteLength;
      const body = new Uint8Array(size);
      size = 0;
      for (const chunk of chunks) {
        body.set(chunk, size);
        size += chunk.byteLength;
      }
      response.end(body);
    });
  },
  pass(request, response) {
    request.pipe(response);
  },
  stream(_, response) {
    let left = 160;
    const write = () => {
      while (left-- > 0) if (!response.write(CHUNK.slice())) return;
      response.end();
    };
    response.on("drain", write);
    write();
  },
};

async function listen(): Promise<number> {
  const where = { port: 0, hostname: "127.0.0.1" };
  if (kind !== "raw") {
    const engine = kind === "native" ? "native" : "wire";
    const { address } = await serve(handler, {
      ...where,
      engine,
      ...(scenario === "http2" && engine === "wire" && { protocols: ["h2"] }),
    });
    return address.transport === "tcp" ? address.port : 0;
  }
  if (globals.Deno !== undefined) {
    return globals.Deno.serve({ ...where, onListen() {} }, handler).addr.port;
  }
  if (globals.Bun !== undefined) {
    return globals.Bun.serve({ ...where, fetch: handler }).port;
  }
  const server = scenario === "http2"
    ? http2.createServer().on("stream", (stream) => {
      stream.respond({ ":status": 200, "content-type": "text/plain" });
      stream.end("Hello, World!");
    })
    : http.createServer(listeners[scenario]);
  await new Promise<void>((resolve) => {
    server.listen(0, where.hostname, () => resolve());
  });
  return (server.address() as AddressInfo).port;
}

console.log(await listen());
