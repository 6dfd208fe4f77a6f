import { test } from "node:test";
import { assertEquals, assertStrictEquals } from "./assert.ts";
import {
  isLoopback,
  isMulticast,
  parseIP,
  sameAddress,
  show,
  toSystem,
  unmapped,
} from "../udp/_address.ts";

test("parseIP() knows addresses in one spelling, and names from them", () => {
  const table: [string, string | undefined][] = [
    ["127.0.0.1", "127.0.0.1"],
    ["255.255.255.255", "255.255.255.255"],
    ["256.0.0.1", undefined],
    ["1.2.3", undefined],
    ["1.2.3.4.5", undefined],
    ["01.2.3.4", undefined],
    ["1.2.3.4 ", undefined],
    ["1.2.3.4\n", undefined],
    ["", undefined],
    ["localhost", undefined],
    ["::", "::"],
    ["::1", "::1"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["FE80::0001", "fe80::1"],
    ["2001:db8::1:0:0:1", "2001:db8::1:0:0:1"],
    ["fe80::1%eth0", "fe80::1%eth0"],
    ["fe80::1%", undefined],
    ["fe80::1%a b", undefined],
    ["::ffff:1.2.3.4", "1.2.3.4"],
    ["::ffff:102:304", "1.2.3.4"],
    ["::1.2.3.4", "::102:304"],
    ["[::1]", undefined],
    [":::", undefined],
    ["1::2::3", undefined],
    ["12345::", undefined],
    ["1:2:3:4:5:6:7:8:9", undefined],
    [":", undefined],
  ];
  for (const [text, expected] of table) {
    assertStrictEquals(parseIP(text)?.address, expected, text);
  }
  assertStrictEquals(parseIP("::ffff:1.2.3.4")?.family, 4);
  assertStrictEquals(parseIP("::1")?.family, 6);
});

test("sameAddress() sees through spellings and zones", () => {
  const table: [string, string, boolean][] = [
    ["::1", "0::1", true],
    ["1.2.3.4", "::ffff:1.2.3.4", true],
    ["fe80::1%eth0", "fe80::1", true],
    ["fe80::1%eth0", "fe80::1%2", true],
    ["fe80::1", "fe80::2", false],
    ["127.0.0.1", "127.0.0.2", false],
    ["localhost", "localhost", true],
    ["localhost", "127.0.0.1", false],
  ];
  for (const [a, b, expected] of table) {
    assertStrictEquals(sameAddress(a, b), expected, `${a} ${b}`);
  }
});

test("unmapped() and toSystem() are inverse for IPv4 inside IPv6", () => {
  assertStrictEquals(toSystem("1.2.3.4", 6), "::ffff:1.2.3.4");
  assertStrictEquals(toSystem("1.2.3.4", 4), "1.2.3.4");
  assertStrictEquals(toSystem("::1", 6), "::1");
  assertStrictEquals(unmapped("::ffff:1.2.3.4"), "1.2.3.4");
  assertStrictEquals(unmapped("::ffff:0:1"), "::ffff:0:1");
  assertStrictEquals(unmapped("1.2.3.4"), "1.2.3.4");
});

test("isMulticast() and isLoopback() know their ranges", () => {
  const groups = ["224.0.0.1", "239.255.255.255", "ff02::1", "ff05::1:3"];
  const hosts = ["223.255.255.255", "240.0.0.1", "127.0.0.1", "fe80::1", "::1"];
  assertEquals(groups.filter(isMulticast), groups);
  assertEquals(hosts.filter(isMulticast), []);
  assertEquals(hosts.filter(isLoopback), ["127.0.0.1", "::1"]);
  assertStrictEquals(show("::1", 5), "[::1]:5");
  assertStrictEquals(show("1.2.3.4", 5), "1.2.3.4:5");
});
