/**
 * Random modules of dense control flow that always end, each in two forms: as it is, and with the charge of every
 * single instruction written before it. The second is the oracle of metering: it knows nothing of segments or loops.
 */
import {
  type Features,
  type Item,
  type Random,
  declared,
  params,
  writeBody,
} from "./random-body.ts";
import { moduleHeader, nameBytes, section, signed, unsigned } from "./module-bytes.ts";

const functionsLeast = 2;
/** Of the counted form, behind the function's own locals. */
const scratch = params + declared;
/** In the counted form; global 0 bounds the steps. */
const fuelGlobal = 1;

const unwindCost = 64;

const chargeConstant = (cost: number): number[] => [
  0x23,
  fuelGlobal,
  0x42,
  ...signed(cost),
  0x7d,
  0x24,
  fuelGlobal,
];

const chargeShifted = (local: number, shift: number, opcode: number): number[] => [
  0x23,
  fuelGlobal,
  0x20,
  local,
  0xad,
  0x42,
  shift,
  opcode,
  0x7d,
  0x24,
  fuelGlobal,
];

const counted = ({ bytes, cost, byLength }: Item): number[] => {
  const before = chargeConstant(cost);
  if (byLength === "fill") {
    return [...before, 0x22, scratch, ...chargeShifted(scratch, 3, 0x88), ...bytes];
  }
  if (byLength === null) return [...before, ...bytes];
  const got = [
    0x22,
    scratch + 1,
    0x41,
    0x7f,
    0x47,
    0x04,
    0x40,
    ...chargeShifted(scratch, 13, 0x86),
    0x0b,
  ];
  return [...before, 0x22, scratch, ...bytes, ...got, 0x20, scratch + 1];
};

const vector = (entries: readonly (readonly number[])[]): number[] => [
  ...unsigned(entries.length),
  ...entries.flat(),
];

const i32 = 0x7f;

const render = (
  bodies: readonly (readonly Item[])[],
  features: Features,
  exported: readonly number[],
  isCounted: boolean,
): Uint8Array<ArrayBuffer> => {
  const entry = 1 + declared + (features.exceptions ? unwindCost : 0);
  const code = bodies.map((items) => {
    const locals = [1, ...unsigned(declared + (isCounted ? 2 : 0)), i32];
    const bytes = isCounted
      ? [...chargeConstant(entry), ...items.flatMap(counted)]
      : items.flatMap(({ bytes: own }) => own);
    const body = [...locals, ...bytes];
    return [...unsigned(body.length), ...body];
  });
  const global = [i32, 1, 0x41, 0, 0x0b];
  const fuel = [0x7e, 1, 0x42, 0, 0x0b];
  const start = bodies.length;
  return new Uint8Array([
    ...moduleHeader,
    ...section(
      1,
      vector([
        [0x60, 2, i32, i32, 1, i32],
        [0x60, 0, 0],
        [0x60, 1, i32, 1, i32],
      ]),
    ),
    ...section(3, vector([...bodies.map(() => [0]), [1]])),
    ...section(4, [1, 0x70, 0, 2]),
    ...section(5, [1, 1, 1, ...unsigned(64)]),
    ...(features.exceptions ? section(13, [1, 0, 1]) : []),
    ...section(6, vector(isCounted ? [global, fuel] : [global])),
    ...section(
      7,
      vector([
        ...exported.map((i) => [...nameBytes(`f${i}`), 0, ...unsigned(i)]),
        [...nameBytes("_start"), 0, ...unsigned(start)],
        [...nameBytes("memory"), 2, 0],
        [...nameBytes("steps"), 3, 0],
        ...(isCounted ? [[...nameBytes("fuel"), 3, fuelGlobal]] : []),
      ]),
    ),
    ...section(9, [1, 0, 0x41, 0, 0x0b, 2, ...unsigned(bodies.length - 1), 0]),
    ...section(10, vector([...code, [2, 0, 0x0b]])),
  ]);
};

export type RandomModule = {
  readonly plain: Uint8Array<ArrayBuffer>;
  /** Counts in the exported global `fuel`, downwards. */
  readonly oracle: Uint8Array<ArrayBuffer>;
  /** Names of functions (i32, i32) -> i32. */
  readonly functions: readonly string[];
};

export const randomModule = (random: Random, features: Features): RandomModule => {
  const count = functionsLeast + Math.floor(random() * 8);
  const bodies = Array.from({ length: count }, () => writeBody(random, features, count));
  const exported = bodies
    .map((_, i) => i)
    .filter((i) => !features.hidden || i === count - 1 || random() < 0.3);
  return {
    plain: render(bodies, features, exported, false),
    oracle: render(bodies, features, exported, true),
    functions: exported.map((i) => `f${i}`),
  };
};
