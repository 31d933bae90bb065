#!/usr/bin/env node
/** The `virtkit` command. */
import { command } from './command.js'

// A reader that goes away (virtkit … | head) ends the output without a complaint.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

process.exitCode = await command(process.argv.slice(2))
