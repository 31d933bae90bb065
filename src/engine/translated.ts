/** The translated engine: the threaded engine, whose hot blocks are compiled to WebAssembly region by region. */

import type { Engine, EngineFactory, EngineHost } from '../cpu/engine-types.js'
import { RegionCache, type TranslationOptions } from './regions.js'
import { SMALLEST_STORE, singleSteps, ThreadedCpuEngine } from './threaded-engine.js'

/** Makes the factory of a translated engine. A CPU without a `WebAssembly.Memory` or a store runs one instruction at a time instead. */
export function translatedEngineWith(options: TranslationOptions): EngineFactory {
  return (host: EngineHost): Engine => {
    if (!host.wasmMemory || host.store.size < SMALLEST_STORE) return singleSteps(host)
    return new ThreadedCpuEngine(host, host.wasmMemory, (engine) => new RegionCache(engine, options))
  }
}

/** The translated engine with its defaults. */
export const translatedEngine: EngineFactory = translatedEngineWith({})
