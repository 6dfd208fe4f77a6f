import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createServer } from "node:net";
import * as ioredis from "ioredis";
import * as nats from "@nats-io/transport-node";
import * as redis from "redis";
import { runtime, tool, within } from "./_support.ts";
import { natsBackplane, redisBackplane } from "../streams/mod.ts";
import type {
  Backplane,
  NatsConnection,
  RedisPublisher,
  RedisSubscriber,
} from "../streams/mod.ts";

/** What the tests use of the packages, typed by hand. */
const connectNats = (nats as unknown as {
  connect(options: Record<string, unknown>): Promise<
    NatsConnection & { close(): Promise<void> }
  >;
}).connect;
const createRedis = (redis as unknown as {
  createClient(options: Record<string, unknown>): NodeRedis;
}).createClient;
const IoRedis = (ioredis as unknown as {
  Redis: new (options: Record<string, unknown>) => IoRedisClient;
}).Redis;

interface NodeRedis extends RedisPublisher, RedisSubscriber {
  on(event: string, listener: () => void): void;
  connect(): Promise<unknown>;
  destroy(): void;
}
interface IoRedisClient extends RedisPublisher, RedisSubscriber {
  on(event: string, listener: () => void): void;
  disconnect(): void;
}
interface BunRedis extends RedisPublisher, RedisSubscriber {
  connect(): Promise<unknown>;
  close(): void;
}

/** A free port below those that the system gives to whoever asks. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const free = await new Promise<boolean>((resolve) => {
      const probe = createServer();
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

/** A message broker that can be killed and started again on its port. */
export class Broker {
  readonly name: "nats-server" | "redis-server";
  port = 0;
  #process: ChildProcess | undefined;

  constructor(name: "nats-server" | "redis-server") {
    this.name = name;
  }

  async start(): Promise<this> {
    for (let tries = 1;; tries++) {
      if (tries > 1 || this.port === 0) this.port = await freePort();
      try {
        await this.restart();
        return this;
      } catch (error) {
        if (tries === 5) throw error;
      }
    }
  }

  /** On the same port as before. */
  async restart(): Promise<void> {
    const args = this.name === "nats-server"
      ? ["-a", "127.0.0.1", "-p", String(this.port)]
      : [
        ...["--bind", "127.0.0.1", "--port", String(this.port)],
        ...["--save", "", "--appendonly", "no"],
      ];
    const child = spawn(tool(this.name)!, args, {
      stdio: ["ignore", "pipe", "pipe"],
      cwd: "/tmp",
    });
    this.#process = child;
    let said = "";
    const ready = new Promise<void>((resolve, reject) => {
      const listen = (text: string) => {
        said += text;
        if (/Server is ready|Ready to accept connections/.test(said)) resolve();
      };
      child.stdout.setEncoding("utf8").on("data", listen);
      child.stderr.setEncoding("utf8").on("data", listen);
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`${this.name}: ${said}`)));
    });
    await within(ready, 20_000, this.name);
  }

  /** As a crash or the end of a machine would. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null) return;
    this.#process = undefined;
    const gone = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await within(gone, 5000, this.name);
  }
}

/** A client package, and the broker that it speaks to. */
export interface Client {
  readonly name: string;
  readonly broker: Broker["name"];
  /** Connections of its own, as another process would have. */
  open(port: number): Promise<{ engine: Backplane; close(): unknown }>;
}

const ignore = () => {};

/** All that there are on this runtime. */
export const clients: readonly Client[] = [
  {
    name: "@nats-io/transport-node",
    broker: "nats-server",
    async open(port) {
      const connection = await connectNats({
        servers: `127.0.0.1:${port}`,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 50,
        reconnectJitter: 0,
      });
      return {
        engine: natsBackplane(connection),
        close: () => connection.close(),
      };
    },
  },
  {
    name: "redis",
    broker: "redis-server",
    async open(port) {
      const both = [1, 2].map(() => {
        const client = createRedis({
          socket: { host: "127.0.0.1", port, reconnectStrategy: 50 },
        });
        client.on("error", ignore);
        return client;
      });
      for (const client of both) await client.connect();
      return {
        engine: redisBackplane(both[0], both[1]),
        close: () => both.forEach((client) => client.destroy()),
      };
    },
  },
  {
    name: "ioredis",
    broker: "redis-server",
    open(port) {
      const both = [1, 2].map(() => {
        const client = new IoRedis({
          host: "127.0.0.1",
          port,
          retryStrategy: () => 50,
          maxRetriesPerRequest: null,
        });
        client.on("error", ignore);
        return client;
      });
      return Promise.resolve({
        engine: redisBackplane(both[0], both[1]),
        close: () => both.forEach((client) => client.disconnect()),
      });
    },
  },
  ...runtime !== "bun" ? [] : [{
    name: "Bun.RedisClient",
    broker: "redis-server" as const,
    async open(port: number) {
      const { RedisClient } = (globalThis as unknown as {
        Bun: { RedisClient: new (url: string, options: unknown) => BunRedis };
      }).Bun;
      const both = [1, 2].map(() =>
        new RedisClient(`redis://127.0.0.1:${port}`, { maxRetries: 1000 })
      );
      for (const client of both) await client.connect();
      return {
        engine: redisBackplane(both[0], both[1]),
        close: () => both.forEach((client) => client.close()),
      };
    },
  }],
];
