import { execFile, execFileSync } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { assert, assertEquals } from "./assert.ts";
import { needs, runArgs, runtime } from "./_support.ts";

/** A cable with both ends here, and a route for multicast over it. */
const SETUP = `
  set -e
  ip link set lo up
  ip link add v0 type veth peer name v1
  ip addr add 10.9.0.1/24 broadcast 10.9.0.255 dev v0
  ip -6 addr add fd11::1/64 dev v0 nodad
  ip link set v0 up
  ip link set v1 up
  # Until the kernel has made up its mind about the new interface.
  for i in $(seq 50); do
    ip -6 route show table all | grep -q 'ff00::/8 dev v0' && break
    sleep 0.02
  done
`;

/**
 * What a queue still holds keeps its namespace, and the kernel's memory for
 * ICMP errors on every other network, for as long as the queue is there.
 */
const RUN = `
  code=0
  "$@" || code=$?
  tc qdisc del dev lo root 2>/dev/null || :
  exit $code
`;

/** Why there can be no network namespace here, or `false`. */
function refusal(): string | false {
  const missing = needs("unshare", "ip", "tc");
  if (missing !== false) return missing;
  try {
    execFileSync("unshare", ["-n", "sh", "-c", SETUP], { stdio: "pipe" });
    return false;
  } catch {
    return "network namespaces are not permitted";
  }
}

const skip = refusal();

/** What `_udp_netns.ts` tells of a scenario, run in a namespace of its own. */
function inNamespace(
  scenario: string,
  setup = "",
): Promise<Record<string, unknown>> {
  const script = fileURLToPath(new URL("./_udp_netns.ts", import.meta.url));
  const flags = process.env.UDP_UNSTABLE === "1" ? ["--unstable-net"] : [];
  const command = [
    process.execPath,
    ...runArgs,
    ...(runtime === "deno" ? flags : []),
    script,
    scenario,
  ];
  return new Promise((resolve, reject) => {
    execFile(
      "unshare",
      [
        "-n",
        "sh",
        "-c",
        `${SETUP}\n${setup}\n${RUN}`,
        "sh",
        ...command,
      ],
      { timeout: 40_000 },
      (error, stdout, stderr) => {
        try {
          if (error) throw error;
          resolve(JSON.parse(stdout));
        } catch (cause) {
          reject(new Error(`${scenario}: ${stdout}${stderr}`, { cause }));
        }
      },
    );
  });
}

for (const family of [4, 6]) {
  test(`join() and leave() over IPv${family}`, { skip }, async () => {
    assertEquals(await inNamespace(`groups${family}`), {
      before: "true",
      sent: ["true", "true", "true", "true", "true"],
      joined: ["joined", "with ttl", "loopback"],
      leftTwice: "EADDRNOTAVAIL",
      left: [],
      back: ["back"],
      own: ["to itself"],
    });
  });
}

test("join() with reuseAddress lets two sockets hear a group", {
  skip,
}, async () => {
  assertEquals(await inNamespace("shared"), ["to both", "to both"] as unknown);
});

test("send() rejects broadcasts of a subnet that were not asked for", {
  skip,
}, async () => {
  assertEquals(await inNamespace("broadcast"), {
    results: ["EACCES", "EACCES", "true"],
    heard: ["to all"],
  });
});

test("send() does not reject when there is no way to a network", {
  skip,
}, async () => {
  assertEquals(await inNamespace("unreachable"), { sent: true, errors: 1 });
});

test("send() waits while the kernel has no room", { skip }, async () => {
  const result = await inNamespace(
    "pressure",
    "tc qdisc add dev lo root tbf rate 4mbit burst 16kb limit 40mb",
  );
  // 600 datagrams of 1400 bytes at 500 kB a second: most of them had to wait.
  assertEquals([result.seen, result.waited, result.buffered], [600, true, 0]);
  assert(result.took as number > 500, JSON.stringify(result));
  assert(result.longest as number > 20, JSON.stringify(result));
});

test("send() and close() end in time on a line that is cut", {
  skip,
}, async () => {
  const result = await inNamespace(
    "stuck",
    "tc qdisc add dev lo root tbf rate 8bit burst 2kb limit 40mb",
  );
  assertEquals(result, {
    timeout: "TimeoutError",
    buffered: true,
    closed: "TimeoutError",
    cut: [false, false],
    after: 0,
    destroyed: false,
    flooded: false,
    flood: "SizeLimitError",
    none: true,
  });
});
