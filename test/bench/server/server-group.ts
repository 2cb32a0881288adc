import type { Report } from "../report.ts";
import { median } from "../samples.ts";
import { openEcho } from "./calls.ts";
import { measureChats } from "./chats.ts";

const kinds = ["raw", "engram", "connect"] as const;
type Kind = (typeof kinds)[number];
const names: Readonly<Record<Kind, string>> = {
  raw: "node:http2 alone",
  engram: "this server",
  connect: "connect-node",
};
const rounds = 7;
const chats = 10_000;

/** What a call and an open stream cost on the port, beside bare HTTP/2 and the library as shipped. */
export async function benchServer(report: Report): Promise<void> {
  const calls: Record<Kind, number[]> = { raw: [], engram: [], connect: [] };
  const messages: Record<Kind, number[]> = { raw: [], engram: [], connect: [] };
  const servers = await Promise.all(
    kinds.map(async (kind) => ({ kind, echo: await openEcho(kind) })),
  );
  try {
    // The first round is for the compilers. Alternating, so that what else the machine does falls on all.
    for (let round = 0; round <= rounds; round++)
      for (const { kind, echo } of servers) {
        const perSecond = await echo.callsPerSecond();
        const streamed = kind === "raw" ? Number.NaN : await echo.messagesPerSecond();
        if (round === 0) continue;
        calls[kind].push(perSecond);
        messages[kind].push(streamed);
      }
  } finally {
    for (const { echo } of servers) await echo.close();
  }
  report.table(
    ["plain gRPC", "unary calls/s", "streamed messages/s"],
    kinds.map((kind) => [
      names[kind],
      median(calls[kind]).toFixed(0),
      kind === "raw" ? "" : median(messages[kind]).toFixed(0),
    ]),
  );
  report.goal({
    name: "a unary call to one of node:http2 alone",
    figure: median(calls.raw) / median(calls.engram),
    atMost: 1 / 0.55,
    unit: "x",
  });
  report.goal({
    name: "a unary call to one of connect-node",
    figure: median(calls.connect) / median(calls.engram),
    atMost: 1 / 4,
    unit: "x",
  });
  report.goal({
    name: "a streamed message to one of connect-node",
    figure: median(messages.connect) / median(messages.engram),
    atMost: 1 / 2,
    unit: "x",
  });
  const { perStreamKib, leftMib } = await measureChats(chats);
  report.table(
    [`${chats} open Chat streams`, "memory"],
    [
      ["each", `${perStreamKib.toFixed(1)} KiB`],
      ["left after them", `${leftMib.toFixed(0)} MiB`],
    ],
  );
  report.goal({ name: "an open Chat stream", figure: perStreamKib, atMost: 25, unit: "KiB" });
}
