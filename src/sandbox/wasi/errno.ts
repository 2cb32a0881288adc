/** Error numbers of WASI preview 1. */
export const errno = {
  success: 0,
  badFile: 8,
  fault: 21,
  invalid: 28,
  noSystemCall: 52,
  notSupported: 58,
  notSeekable: 70,
  notCapable: 76,
} as const;
