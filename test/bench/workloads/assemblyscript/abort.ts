/** Takes the place of the imported abort: a workload that fails traps. */
export function abort(
  _message: string | null,
  _file: string | null,
  _line: u32,
  _column: u32,
): void {
  unreachable();
}
