import { describe, test } from "node:test";
import {
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
} from "./assert.ts";
import {
  ClosedError,
  ConnectError,
  DnsError,
  NetError,
  TimeoutError,
  TlsError,
} from "../tcp/mod.ts";
import {
  codeOf,
  connectError,
  cutError,
  listenError,
  show,
  tlsError,
} from "../tcp/_errors.ts";
import type { Address } from "../tcp/mod.ts";

const there: Address = { transport: "tcp", hostname: "h", port: 1 };

function native(name: string, message = "", code?: string): Error {
  const error = new Error(message);
  error.name = name;
  return code === undefined ? error : Object.assign(error, { code });
}

describe("codes of errors", () => {
  const rows: [string, Error, string][] = [
    ["Node, refused", native("Error", "", "ECONNREFUSED"), "ECONNREFUSED"],
    ["Node, busy name server", native("Error", "", "EAI_AGAIN"), "EAI_AGAIN"],
    ["Node, no such name", native("Error", "", "EAI_NONAME"), "ENOTFOUND"],
    ["Deno, refused", native("ConnectionRefused"), "ECONNREFUSED"],
    ["Deno, reset", native("ConnectionReset"), "ECONNRESET"],
    ["Deno, aborted", native("ConnectionAborted"), "ECONNABORTED"],
    ["Deno, in use", native("AddrInUse"), "EADDRINUSE"],
    ["Deno, not ours", native("AddrNotAvailable"), "EADDRNOTAVAIL"],
    ["Deno, no permission", native("PermissionDenied"), "EACCES"],
    ["Deno, not granted", native("NotCapable"), "EACCES"],
    ["Deno, no file", native("NotFound"), "ENOENT"],
    ["Deno, broken pipe", native("BrokenPipe"), "EPIPE"],
    ["Deno, timed out", native("TimedOut"), "ETIMEDOUT"],
    ["Deno, no route", native("HostUnreachable"), "EHOSTUNREACH"],
    ["Deno, no network", native("NetworkUnreachable"), "ENETUNREACH"],
    [
      "Deno, no such name",
      native("Error", "failed to lookup address information: Name or service"),
      "ENOTFOUND",
    ],
    ["who knows", native("Error", "hm"), "ERR_NETWORK"],
  ];
  for (const [what, error, code] of rows) {
    test(`${what}: ${code}`, () => assertEquals(codeOf(error), code));
  }

  test("`connectError()` picks the class, and says to whom", () => {
    const classes: [string, new (...args: never[]) => Error, boolean][] = [
      ["ECONNREFUSED", ConnectError, true],
      ["EHOSTUNREACH", ConnectError, true],
      ["ETIMEDOUT", TimeoutError, true],
      ["ENOTFOUND", DnsError, false],
      ["EAI_AGAIN", DnsError, true],
    ];
    for (const [code, type, retryable] of classes) {
      const cause = native("Error", "", code);
      const error = connectError(cause, there);
      assertInstanceOf(error, type);
      assertEquals([error.code, error.retryable], [code, retryable]);
      assertEquals(error.message.startsWith("Cannot connect to h:1: "), true);
      assertStrictEquals(error.cause, cause);
    }
    const all = connectError(
      new AggregateError([native("Error", "", "ECONNREFUSED")]),
      there,
    );
    assertEquals(all.code, "ECONNREFUSED");
    assertStrictEquals(connectError(all, there), all);
  });

  test("`cutError()` and `listenError()` keep the code", () => {
    const cut = cutError(native("Error", "", "ECONNRESET"), there);
    assertInstanceOf(cut, ClosedError);
    assertEquals(
      cut.message,
      "Connection to h:1 was cut: the peer reset the connection",
    );
    const listen = listenError(native("Error", "", "EACCES"), {
      transport: "unix",
      path: "/p",
    });
    assertInstanceOf(listen, NetError);
    assertEquals(listen.message, "Cannot listen on /p: permission denied");
  });

  test("`tlsError()` says the same of every runtime's failure", () => {
    const rows: [string, string, string][] = [
      ["CERT_HAS_EXPIRED", "", "ERR_TLS_EXPIRED"],
      ["ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED", "", "ERR_TLS_EXPIRED"],
      ["", "invalid peer certificate: Expired", "ERR_TLS_EXPIRED"],
      ["ERR_TLS_CERT_ALTNAME_INVALID", "", "ERR_TLS_WRONG_HOST"],
      ["DEPTH_ZERO_SELF_SIGNED_CERT", "", "ERR_TLS_UNKNOWN_CA"],
      ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "", "ERR_TLS_UNKNOWN_CA"],
      ["", "invalid peer certificate: UnknownIssuer", "ERR_TLS_UNKNOWN_CA"],
      ["ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "", "ERR_TLS_ALPN"],
      ["ERR_SSL_UNSUPPORTED_PROTOCOL", "", "ERR_TLS_VERSION"],
      ["ERR_SSL_WRONG_VERSION_NUMBER", "", "ERR_TLS_NOT_TLS"],
      ["ERR_SSL_HTTP_REQUEST", "", "ERR_TLS_NOT_TLS"],
      ["ECONNRESET", "socket hang up", "ECONNRESET"],
      ["", "hm", "ERR_TLS"],
    ];
    for (const [code, message, ours] of rows) {
      const error = tlsError(native("Error", message, code), there);
      assertInstanceOf(error, TlsError);
      assertEquals([error.code, error.phase], [ours, "tls"], code + message);
    }
  });

  test("`show()` writes addresses as URLs do", () => {
    assertEquals(
      show({ transport: "tcp", hostname: "::1", port: 8 }),
      "[::1]:8",
    );
    assertEquals(show({ transport: "unix", path: "/p" }), "/p");
    assertEquals(show(undefined), "an unknown address");
  });
});
