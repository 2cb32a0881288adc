import { create } from "@bufbuild/protobuf";
import { expect, test } from "bun:test";
import { sayOf } from "../../src/api/commands.ts";
import { msOf, specOf } from "../../src/api/spec.ts";
import { CreateAgentRequestSchema, UserInputSchema } from "../../src/gen/engram/api/v1/agent_pb.ts";

test("a file's type is known in capitals too, and keeps its parameters", () => {
  const typeOf = (mimeType: string): unknown => {
    const attachments = [{ name: "a", mimeType, data: Uint8Array.of(1) }];
    return sayOf(create(UserInputSchema, { content: "x", attachments }), "");
  };
  for (const [given, taken] of [
    ["IMAGE/PNG", "image/png"],
    [" Text/Plain; charset=UTF-8 ", "text/plain; charset=UTF-8"],
    ["application/json;charset=utf-8", "application/json;charset=utf-8"],
  ] as const)
    expect(typeOf(given)).toMatchObject({ attachments: [{ mimeType: taken }] });
});

test("a temperature is the same whether it came as a float or in JSON", () => {
  const temperatureOf = (temperature: number): number | null =>
    specOf(create(CreateAgentRequestSchema, { config: { temperature } })).config.temperature;
  for (const temperature of [0.7, 0.1, 1.3, 2, 0.123456])
    expect([temperatureOf(Math.fround(temperature)), temperatureOf(temperature)]).toEqual([
      temperature,
      temperature,
    ]);
  expect(temperatureOf(0)).toBeNull();
  expect(temperatureOf(Number.NaN)).toBeNaN();
});

test("a duration is rounded up to whole milliseconds, and never from below zero", () => {
  const ms = (seconds: bigint, nanos: number): number =>
    msOf("f", { $typeName: "google.protobuf.Duration", seconds, nanos });
  expect([ms(0n, 1), ms(2n, 500_000_000), ms(0n, 0)]).toEqual([1, 2500, 0]);
  for (const [seconds, nanos] of [
    [0n, -1],
    [0n, -500_000],
    [5n, -1],
    [-5n, 1],
  ] as const)
    expect(() => ms(seconds, nanos)).toThrow("f is negative");
  const longest = 315_576_000_000n;
  expect(ms(longest, 999_999_999)).toBe(Number(longest) * 1000 + 1000);
  for (const [seconds, nanos] of [
    [longest + 1n, 0],
    [2n ** 62n, 0],
    [1n, 1_000_000_000],
  ] as const)
    expect(() => ms(seconds, nanos)).toThrow(`f has ${seconds} seconds and ${nanos} nanos`);
});
