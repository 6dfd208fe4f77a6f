// The one door to the assertions: `@std/assert`, from npm, where JSR cannot be
// reached. With JSR at hand this line is `export * from "jsr:@std/assert@1"`.
// @ts-types="./assert.d.ts"
export * from "deno-std/assert/mod.js";
