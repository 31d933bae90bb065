// A whole PC boots a kernel that is assembled here, and powers off through the debug-exit port.
import { assemble } from 'virtkit/isa'
import { Pc } from 'virtkit/machine'

const kernel = assemble(`
  bits 32
  org 0x100000
  dd 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)   ; a Multiboot header with addresses
  dd 0x100000, 0x100000, 0, 0, start
  start:  mov esi, text
  next:   lodsb
          test al, al
          jz done
          mov dx, 0x3f8                              ; the first serial port
          out dx, al
          jmp next
  done:   mov al, 0
          out 0xf4, al                               ; isa-debug-exit
  text:   db "hello from ring 0", 10, 0
`)
const pc = new Pc({ memory: 16 * 1024 * 1024 })
pc.loadMultiboot(kernel.bytes)
const { reason, status } = await pc.run({ instructions: 1_000_000 })
console.log(pc.serial.text.trim())
console.log(`the run ended: ${reason}, status ${status}`)
