import { describe, test } from "node:test";
import { assert, assertEquals, assertThrows } from "./assert.ts";
import { bytesOf } from "./_proxies.ts";
import { Refusal } from "../tcp/_dialogue.ts";
import type { Dialogue } from "../tcp/_dialogue.ts";
import { connectDialogue } from "../tcp/_http_tunnel.ts";
import { proxyPlan } from "../tcp/_proxy.ts";
import { socks4Dialogue, socks5Dialogue } from "../tcp/_socks.ts";

const http = () =>
  connectDialogue(proxyPlan("http://p.test", "connect"), "name.test", 443);
const socks4 = () =>
  socks4Dialogue(proxyPlan("socks4a://p.test", "connect"), "name.test", 443);
const socks5 = () =>
  socks5Dialogue(
    proxyPlan("socks5h://u:p@p.test", "connect"),
    "name.test",
    443,
  );

/** Feeds answers in pieces; what is left once the tunnel stands. */
function run(dialogue: Dialogue, answers: Uint8Array[]): string | undefined {
  dialogue.start();
  let held: number[] = [];
  for (const answer of answers) {
    held.push(...answer);
    while (held.length > 0) {
      const step = dialogue.feed(Uint8Array.from(held));
      if (step === undefined) break;
      held = held.slice(step.taken);
      if (step.done) return String.fromCharCode(...held);
    }
  }
  return undefined;
}

const TALKS: [string, () => Dialogue, string][] = [
  ["CONNECT", http, "HTTP/1.1 200 OK\r\na: b\r\n\r\n"],
  [
    "CONNECT",
    http,
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204\r\n\r\n",
  ],
  ["SOCKS4", socks4, "\x00\x5a\x01\x02\x03\x04\x05\x06"],
  ["SOCKS5", socks5, "\x05\x00\x05\x00\x00\x01\x01\x02\x03\x04\x05\x06"],
  ["SOCKS5", socks5, "\x05\x02\x01\x00\x05\x00\x00\x03\x02ab\x05\x06"],
  ["SOCKS5", socks5, "\x05\x02\x01\x00\x05\x00\x00\x03\x00\x05\x06"],
  ["SOCKS5", socks5, `\x05\x00\x05\x00\x00\x04${"\x01".repeat(16)}\x05\x06`],
];

describe("tcp tunnels", () => {
  test("a dialogue takes its answer split at every byte, and no byte more", () => {
    for (const [name, make, answer] of TALKS) {
      const bytes = bytesOf(`${answer}rest`);
      const end = bytes.byteLength - 4;
      for (let at = 0; at <= end; at++) {
        const rest = run(make(), [bytes.subarray(0, at), bytes.subarray(at)]);
        assertEquals(rest, at === end ? "" : "rest", `${name} at ${at}`);
      }
      const single = Array.from(
        bytes.subarray(0, end),
        (byte) => Uint8Array.of(byte),
      );
      assertEquals(run(make(), single), "", name);
      assertEquals(run(make(), single.slice(0, -1)), undefined, name);
    }
  });

  test("a dialogue refuses noise, and throws nothing else", () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      return (seed >> 8) % below;
    };
    let refused = 0;
    for (let round = 0; round < 20_000; round++) {
      const [, make, answer] = TALKS[round % TALKS.length];
      const bytes = bytesOf(answer);
      for (let i = 0; i <= random(3); i++) {
        bytes[random(bytes.byteLength)] = random(256);
      }
      try {
        run(make(), [bytes.subarray(0, random(bytes.byteLength)), bytes]);
      } catch (error) {
        assert(error instanceof Refusal, String(error));
        refused++;
      }
    }
    assert(refused > 1000);
  });

  test("`proxyPlan()` tells proxies and their users apart, and shows neither", () => {
    const keys = new Set(
      [
        "http://p.test",
        "https://p.test",
        "http://p.test:81",
        "http://u@p.test",
        "http://u:p@p.test",
        "socks5://u:p@p.test",
      ].map((url) => proxyPlan(url, "connect").key),
    );
    assertEquals(keys.size, 6);
    const { shown, port } = proxyPlan("socks5://u:p@[::1]", "connect");
    assertEquals([shown, port], ["socks5://[::1]:1080", 1080]);
    assertThrows(() => proxyPlan("x", "connect"), TypeError);
  });
});
