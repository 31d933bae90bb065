/**
 * Registers and bits of the 16550A. Source: National Semiconductor PC16550D data sheet, "Registers".
 * @module
 */

/** Receiver buffer (read), transmitter holding (write), divisor low with DLAB. */
export const UART_RBR = 0
/** Interrupt enable, divisor high with DLAB. */
export const UART_IER = 1
/** Interrupt identification (read), FIFO control (write). */
export const UART_FCR = 2
export const UART_LCR = 3
export const UART_MCR = 4
export const UART_LSR = 5
export const UART_MSR = 6
export const UART_SCR = 7

/** Received data available, and the character timeout. */
export const IER_ERBFI = 0x01
/** Transmitter holding register empty. */
export const IER_ETBEI = 0x02
/** Receiver line status. */
export const IER_ELSI = 0x04
/** Modem status. */
export const IER_EDSSI = 0x08
export const IER_ALL = 0x0f

export const IIR_NONE = 0x01
export const IIR_LINE_STATUS = 0x06
export const IIR_RECEIVED = 0x04
export const IIR_TIMEOUT = 0x0c
export const IIR_THR_EMPTY = 0x02
export const IIR_MODEM_STATUS = 0x00
/** The FIFOs are enabled. */
export const IIR_FIFOS = 0xc0

export const FCR_ENABLE = 0x01
export const FCR_CLEAR_RX = 0x02
export const FCR_CLEAR_TX = 0x04
export const FCR_DMA_MODE = 0x08
/** Characters that raise the interrupt, by FCR bits 7–6. */
export const FCR_TRIGGER_LEVELS: readonly number[] = [1, 4, 8, 14]

/** Word length less five. */
export const LCR_WLS = 0x03
/** Two stop bits (one and a half with five data bits). */
export const LCR_STB = 0x04
/** Parity enable. */
export const LCR_PEN = 0x08
/** Even parity. */
export const LCR_EPS = 0x10
/** Stick parity. */
export const LCR_STICK = 0x20
export const LCR_BREAK = 0x40
/** Divisor latch access. */
export const LCR_DLAB = 0x80

export const MCR_DTR = 0x01
export const MCR_RTS = 0x02
export const MCR_OUT1 = 0x04
/** On a PC, lets the interrupt out. */
export const MCR_OUT2 = 0x08
export const MCR_LOOP = 0x10
export const MCR_ALL = 0x1f

/** Data ready. */
export const LSR_DR = 0x01
/** Overrun. */
export const LSR_OE = 0x02
/** Parity error of the character on top. */
export const LSR_PE = 0x04
/** Framing error of the character on top. */
export const LSR_FE = 0x08
/** Break. */
export const LSR_BI = 0x10
/** Transmitter holding register (FIFO) empty. */
export const LSR_THRE = 0x20
/** Transmitter wholly empty. */
export const LSR_TEMT = 0x40
/** Some character in the FIFO has an error. */
export const LSR_FIFO_ERROR = 0x80

export const MSR_DCTS = 0x01
export const MSR_DDSR = 0x02
/** Trailing edge of the ring indicator. */
export const MSR_TERI = 0x04
export const MSR_DDCD = 0x08
export const MSR_CTS = 0x10
export const MSR_DSR = 0x20
export const MSR_RI = 0x40
export const MSR_DCD = 0x80
