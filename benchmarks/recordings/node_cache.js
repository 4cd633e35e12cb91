// The program of the node-cache recording: a cache service on a Unix socket, values kept in Node's memory.
// A request is a line: "S KEY BYTES" stores a value, "G KEY" answers with its checksum, "Q" ends the service.
//
// Values repeat their key, or are pieces of the file `text` when there is one.
//
//     node node_cache.js SOCKET
"use strict";
const fs = require("node:fs");
const net = require("node:net");

const values = new Map();
const text = fs.existsSync("text") ? fs.readFileSync("text") : null;

function body(key, bytes) {
  if (!text) return Buffer.alloc(bytes, key);
  const at = (values.size * 7919) % (text.length - bytes);
  return Buffer.from(text.subarray(at, at + bytes));
}

function store(key, bytes) {
  values.set(key, { made: values.size, body: body(key, bytes) });
  return "stored";
}

function checksum(key) {
  const value = values.get(key);
  if (!value) return "missing";
  let sum = value.made;
  for (let at = 0; at < value.body.length; at += 32) sum = (sum * 31 + value.body[at]) | 0;
  return String(sum);
}

function answer(line) {
  const [verb, key, bytes] = line.split(" ");
  if (verb === "S") return store(key, Number(bytes));
  if (verb === "G") return checksum(key);
  process.exit(0);
}

net
  .createServer((connection) => {
    let rest = "";
    connection.on("data", (data) => {
      const lines = (rest + data).split("\n");
      rest = lines.pop();
      connection.write(lines.map((line) => answer(line) + "\n").join(""));
    });
  })
  .listen(process.argv[2]);
