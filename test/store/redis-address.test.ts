import { describe, expect, test } from "bun:test";
import { EngramError } from "../../src/errors.ts";
import { nameOf, readRedisUrl, type RedisPlace } from "../../src/store/redis/address.ts";
import { makeShards, slotOf } from "../../src/store/redis/shards.ts";

describe("REDIS_URL", () => {
  const plain = { username: null, password: null, database: 0, tls: false };

  const understood: [string, RedisPlace][] = [
    ["localhost:6379", { addresses: [{ host: "localhost", port: 6379 }], ...plain }],
    ["redis.example", { addresses: [{ host: "redis.example", port: 6379 }], ...plain }],
    ["[::1]:7000", { addresses: [{ host: "::1", port: 7000 }], ...plain }],
    [
      "redis://ann:p%40ss@h:1/3",
      {
        addresses: [{ host: "h", port: 1 }],
        ...plain,
        username: "ann",
        password: "p@ss",
        database: 3,
      },
    ],
    [
      "rediss://:secret@h",
      { addresses: [{ host: "h", port: 6379 }], ...plain, password: "secret", tls: true },
    ],
    [
      "rediss://ann:x@h1:1, h2:2,h3",
      {
        addresses: [
          { host: "h1", port: 1 },
          { host: "h2", port: 2 },
          { host: "h3", port: 6379 },
        ],
        username: "ann",
        password: "x",
        database: 0,
        tls: true,
      },
    ],
  ];
  test.each(understood)("%s is understood", (text, place) => {
    expect(readRedisUrl(text)).toEqual(place);
  });

  test.each([
    ["", "host"],
    ["http://h", "redis://"],
    ["h:99999", "host:port"],
    ["redis://h/three", "number"],
    ["redis://h1/1,h2", "no databases"],
    ["h1,,h2", "host"],
    ["redis://a:%zz@h", "percent"],
    [Array.from({ length: 65 }, (_, n) => `h${n}`).join(), "64"],
  ])("%p is refused in a sentence that names it", (text, reason) => {
    const refusal = ((): unknown => {
      try {
        return readRedisUrl(text);
      } catch (error) {
        return error;
      }
    })();
    expect(refusal).toBeInstanceOf(EngramError);
    expect(refusal).toMatchObject({ code: "invalid_argument" });
    expect(String(refusal)).toContain("REDIS_URL");
    expect(String(refusal)).toContain(reason);
  });

  test("is shown without brackets lost", () => {
    expect(nameOf({ host: "::1", port: 7 })).toBe("[::1]:7");
    expect(nameOf({ host: "h", port: 7 })).toBe("h:7");
  });
});

describe("shards", () => {
  test("have the slots that Redis computes, spread evenly", () => {
    // From the Redis Cluster specification.
    expect(slotOf("123456789")).toBe(0x31c3 % 16_384);
    const { all } = makeShards("p:");
    for (const { number, slot, wake } of all) {
      expect(slot).toBe(slotOf(/\{(.*?)\}/.exec(wake)?.[1] ?? ""));
      expect(Math.floor((slot * all.length) / 16_384)).toBe(number);
    }
  });
  test("are where they always were: another place would be an empty store", () => {
    const shards = makeShards("p:");
    expect(shards.all.length).toBe(32);
    const places = ["a", "b", "0190c5d4-7e5e-7000-8000-000000000000"].map((id) =>
      shards.of(id).agent(id),
    );
    expect(places).toMatchInlineSnapshot(`
      [
        "p:{7}:agent:a",
        "p:{114}:agent:b",
        "p:{63}:agent:0190c5d4-7e5e-7000-8000-000000000000",
      ]
    `);
    expect(shards.first.store).toBe("p:{10}:store");
  });
});
