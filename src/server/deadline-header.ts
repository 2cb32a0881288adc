import { timerMsMax } from "../clock.ts";

const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/**
 * Lowers a deadline that a timer cannot hold, in place: connect would turn 25 days into 1 ms. What is not a deadline
 * stays as it is, for connect to refuse.
 */
export const clampDeadline = (header: Headers): void => {
  const grpc = /^(\d{1,8})([HMSmun])$/.exec(header.get("grpc-timeout") ?? "");
  if (grpc !== null && Number(grpc[1]) * (unitMs[grpc[2] ?? ""] ?? 0) > timerMsMax) {
    header.set("grpc-timeout", `${Math.floor(timerMsMax / 1000)}S`);
  }
  const connect = header.get("connect-timeout-ms") ?? "";
  if (/^\d{1,10}$/.test(connect) && Number(connect) > timerMsMax) {
    header.set("connect-timeout-ms", String(timerMsMax));
  }
};
