import { defineConfig } from 'vitest/config'

/** Real guests, long fuzzing, engines in lockstep: `npm run test:slow`. */
export default defineConfig({
  test: {
    include: ['test/slow/**/*.test.ts'],
    globalSetup: ['test/slow/linux-setup.ts'],
    testTimeout: 900_000,
    hookTimeout: 900_000,
    maxWorkers: 2,
    reporters: [['default', { summary: false }], './scripts/count-reporter.ts'],
  },
})
