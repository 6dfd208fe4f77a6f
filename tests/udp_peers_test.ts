import { spawn } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { assertEquals, assertStrictEquals } from "./assert.ts";
import { HOST, portOf, scene, take, text } from "./_udp_support.ts";
import { needs, runArgs, runtime, tool, within } from "./_support.ts";

interface Program {
  /** What it has printed so far, once that contains the text. */
  printed(part: string): Promise<string>;
  write(text: string): void;
  end(): Promise<void>;
}

function start(command: string, args: string[]): Program {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  let output = "";
  let wake = () => {};
  child.stdout.on("data", (chunk) => {
    output += chunk;
    wake();
  });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  return {
    printed: (part) =>
      within(
        (async () => {
          while (!output.includes(part)) {
            await new Promise<void>((resolve) => wake = resolve);
          }
          return output;
        })(),
        5000,
        `${command} printing ${part}`,
      ),
    write: (text) => {
      child.stdin.write(text);
    },
    async end() {
      child.kill();
      await exited;
    },
  };
}

scene("Socket talks with nc -u", async (s) => {
  const socket = await s.bind();
  const nc = start(tool("nc")!, ["-u", HOST, `${portOf(socket)}`]);
  try {
    nc.write("hello from nc\n");
    const datagram = await take(socket);
    assertStrictEquals(text(datagram), "hello from nc\n");
    await socket.send({ ...datagram, data: "hello to nc\n" });
    await nc.printed("hello to nc\n");
  } finally {
    await nc.end();
  }
}, { skip: needs("nc") });

for (const [version, host] of [[4, HOST], [6, "::1"]] as const) {
  scene(`Socket talks with socat over IPv${version}`, async (s) => {
    const socket = await s.bind({ hostname: host });
    const address = version === 6 ? `[${host}]` : host;
    const socat = start(tool("socat")!, [
      "-b65536",
      "-",
      `UDP${version}:${address}:${portOf(socket)}`,
    ]);
    try {
      const payload = "x".repeat(20_000) + "\n";
      socat.write(payload);
      const datagram = await take(socket);
      assertStrictEquals(text(datagram), payload);
      assertStrictEquals(datagram.hostname, host);
      await socket.send({ ...datagram, data: "short\n" });
      await socat.printed("short\n");
    } finally {
      await socat.end();
    }
  }, { skip: needs("socat") });
}

scene("bind() with ttl sends with so many hops left", async (s) => {
  const free = await s.bind();
  const port = portOf(free);
  await free.close();
  // Answers with the hops that were left.
  const socat = start(tool("socat")!, [
    `UDP4-RECVFROM:${port},bind=${HOST},ip-recvttl,fork`,
    "SYSTEM:echo $SOCAT_IP_TTL",
  ]);
  try {
    for (const ttl of [1, 5, 255]) {
      const remote = { transport: "udp", hostname: HOST, port } as const;
      const socket = await s.bind({ remote, ttl });
      let answer;
      for (let tries = 0; answer === undefined && tries < 50; tries++) {
        await socket.send({ data: "how many?\n" });
        answer = await Promise.resolve(socket.receive({ timeout: 200 }))
          .catch(() => undefined);
      }
      assertStrictEquals(answer && text(answer), `${ttl}\n`);
    }
  } finally {
    await socat.end();
  }
}, { skip: needs("socat") });

test("udp needs nothing else to be loaded, and lets the program end", async () => {
  const script = fileURLToPath(new URL("./_udp_alone.ts", import.meta.url));
  const flags = process.env.UDP_UNSTABLE === "1" ? ["--unstable-net"] : [];
  const child = spawn(process.execPath, [...runArgs, ...flags, script]);
  let output = "";
  child.stdout.on("data", (chunk) => output += chunk);
  child.stderr.on("data", (chunk) => output += chunk);
  try {
    const code = await within(
      new Promise((resolve) => child.once("exit", resolve)),
      15_000,
      "The program",
    );
    assertEquals([output.trim(), code], [
      "to undefined|to 127.0.0.1|by name|EACCES|ENOTFOUND|EADDRINUSE",
      0,
    ]);
  } finally {
    child.kill();
  }
});

// The flag is Deno's; elsewhere there is nothing to skip.
const onDeno = runtime === "deno" ? test : () => {};
onDeno("udp on Deno works with --unstable-net, too", async () => {
  const files = ["socket", "send", "connected", "network", "peers"]
    .map((topic) =>
      new URL(`./udp_${topic}_test.ts`, import.meta.url).pathname
    );
  if (process.env.UDP_UNSTABLE === "1") return;
  const child = spawn(process.execPath, [
    "test",
    "-A",
    "--no-check",
    "--unstable-net",
    ...files,
  ], { env: { ...process.env, UDP_UNSTABLE: "1", NO_COLOR: "1" } });
  let output = "";
  child.stdout.on("data", (chunk) => output += chunk);
  child.stderr.on("data", (chunk) => output += chunk);
  const code = await within(
    new Promise((resolve) => child.once("exit", resolve)),
    50_000,
    "The tests with the flag",
  );
  assertEquals(code, 0, output.slice(-4000));
});
