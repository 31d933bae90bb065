/** The groups of SSE floating-point, AES and CRC operations that simd.ts numbers. */

import type { SimdGroup } from './simd-types.js'
import { SSE_ARITHMETIC } from './sse-arithmetic.js'
import { SSE_CONVERSIONS } from './sse-conversions.js'
import { SSE_CRYPTO } from './sse-crypto.js'

/** Every group. */
export const SSE_GROUPS: readonly SimdGroup[] = [SSE_ARITHMETIC, SSE_CONVERSIONS, SSE_CRYPTO]
