import { describe, test } from "node:test";
import { assertEquals } from "./assert.ts";
import { latin1, read } from "./_h1.ts";
import type { ReadOptions } from "./_h1.ts";

/** Numbers that look random and are the same every time. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

const requests = [
  "GET /a?b=c HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
  '5;a="b"\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n',
  "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nraw",
  "\r\nOPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
];

const responses = [
  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n c\r\n\r\nhello",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204\r\n\r\n",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
  "5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
  "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nhello",
];

/** Bytes that mean something somewhere. */
const special = latin1('\r\n\t :;,="\\/0159afAFxX\0\x7f\x80\xff#%+-[]@*');

const limits = { header: 120, target: 40, fields: 6, trailer: 40 };

function mutate(
  bytes: Uint8Array,
  next: (below: number) => number,
): Uint8Array {
  let list = [...bytes];
  for (let n = next(4); n > 0; n--) {
    const at = next(list.length);
    switch (next(5)) {
      case 0:
        list[at] = special[next(special.length)];
        break;
      case 1:
        list.splice(at, 0, special[next(special.length)]);
        break;
      case 2:
        list.splice(at, 1 + next(3));
        break;
      case 3:
        list.splice(at, 0, ...list.slice(at, at + next(30)));
        break;
      default:
        list = list.slice(0, Math.max(1, list.length - next(8)));
    }
  }
  return Uint8Array.from(list);
}

function pieces(next: (below: number) => number) {
  return function* (input: Uint8Array): Iterable<Uint8Array> {
    for (let at = 0; at < input.length;) {
      const end = Math.min(input.length, at + 1 + next(12));
      yield input.slice(at, end);
      at = end;
    }
  };
}

describe("the readers", () => {
  const run = (corpus: string[], options: ReadOptions, seed: number) => {
    const next = random(seed);
    let refused = 0;
    for (let round = 0; round < 1000; round++) {
      const base = [1, 2].slice(0, 1 + next(2))
        .map(() => corpus[next(corpus.length)]).join("");
      const input = mutate(latin1(base), next);
      const first = read(input, { ...options, limits, fin: true });
      if (first.error !== undefined) refused++;
      for (let cut = 0; cut < 3; cut++) {
        const again = read(input, {
          ...options,
          limits,
          fin: true,
          halting: cut === 2,
          lent: cut > 0,
          cut: pieces(next),
        });
        assertEquals(again, first, JSON.stringify([...input]));
      }
    }
    // Neither everything nor nothing of it is good.
    assertEquals(refused > 200 && refused < 980, true, `${refused}`);
  };

  test("read a request the same in whatever pieces it comes", () => {
    for (const seed of [1, 2]) run(requests, {}, seed);
  });

  test("read a response the same in whatever pieces it comes", () => {
    for (const seed of [3, 4]) {
      run(responses, { methods: ["GET", "GET"] }, seed);
    }
  });
});
