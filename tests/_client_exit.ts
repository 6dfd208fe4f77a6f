// Run by http_client_use_test.ts: it has to end by itself.
import process from "node:process";
import { get } from "../http/fetch.ts";

const url = process.argv[2];
const first = await get(url).text();
get(url, { timeout: 60_000 }).text().then((second) => {
  console.log(first, second);
});
