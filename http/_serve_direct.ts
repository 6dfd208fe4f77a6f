import { ClosedError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { cancelResponse } from "./_body_cancel.ts";
import { clientOf } from "./_client_address.ts";
import { statusOfError } from "./_error_status.ts";
import { setExchange } from "./_exchange.ts";
import { checkInforming, isResponse, UNUSABLE } from "./_response_parts.ts";
import type { ServeConfig } from "./_serve_options.ts";
import type { HttpServer, ServerContext } from "./types.ts";

/** What of a server a request without a socket needs. */
export interface DirectServer extends Pick<HttpServer, "address"> {
  waitUntil(task: Promise<unknown>, onError: (error: unknown) => void): void;
  onShutdown(callback: () => void): () => void;
  report(error: unknown, request: Request): void;
}

const NO_SOCKET = "a request given to fetch of the server has no connection";

/** Runs the handler as the engines do, without a socket. */
export async function fetchDirect(
  server: DirectServer,
  config: ServeConfig,
  request: Request,
): Promise<Response> {
  const context = new DirectContext(server, config, request);
  setExchange(request, {
    engine: "wire",
    context,
    onShutdown: (callback) => server.onShutdown(callback),
    report: (error) => server.report(error, request),
  });
  const checked = (response: Response): Response => {
    if (!isResponse(response)) {
      throw new TypeError(
        "Cannot send what the handler gave: it is no Response",
      );
    }
    if (response.bodyUsed || response.body?.locked) {
      throw new TypeError(UNUSABLE);
    }
    if (response.status === 0) {
      throw new TypeError("Cannot send what the handler gave: its status is 0");
    }
    return response;
  };
  let response: Response;
  try {
    response = checked(await config.handler(request, context));
  } catch (error) {
    try {
      if (config.onError === undefined) throw error;
      response = checked(await config.onError(error, request));
    } catch {
      const status = config.onError === undefined ? statusOfError(error) : 500;
      response = new Response(null, { status });
    }
  }
  context.finish();
  return request.method === "HEAD" ? headOf(response) : response;
}

/** What HEAD gets of a response: all but the body. */
function headOf(response: Response): Response {
  if (response.body === null) return response;
  const { status, statusText, headers } = response;
  cancelResponse(response, undefined);
  return new Response(null, { status, statusText, headers });
}

class DirectContext implements ServerContext {
  readonly receivedAt: number = performance.now();
  readonly protocol = "http/1.1";
  readonly trailers: Promise<Headers> = Promise.resolve(new Headers());
  readonly completed: Promise<void>;
  readonly raw: unknown = undefined;
  readonly #server: DirectServer;
  readonly #config: ServeConfig;
  readonly #request: Request;
  #finish!: () => void;

  constructor(server: DirectServer, config: ServeConfig, request: Request) {
    this.#server = server;
    this.#config = config;
    this.#request = request;
    this.completed = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  finish(): void {
    this.#finish();
  }

  get remoteAddress(): Address {
    return { transport: "tcp", hostname: "127.0.0.1", port: 0 };
  }

  get localAddress(): Address {
    return this.#server.address;
  }

  get clientAddress(): string {
    return clientOf(
      this.remoteAddress,
      this.#config.trust,
      (name) => this.#request.headers.get(name) ?? undefined,
    );
  }

  waitUntil(task: Promise<unknown>): void {
    this.#server.waitUntil(
      task,
      (error) => this.#server.report(error, this.#request),
    );
  }

  inform(status: 102 | 103): void {
    checkInforming(status);
    // There is nobody on the way who could use it.
  }

  tunnel(): never {
    throw new ClosedError(`Cannot tunnel: ${NO_SOCKET}`);
  }
}
