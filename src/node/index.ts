/**
 * What needs Node: files and pictures.
 * @module
 */
export * from './cpio-folder.js'
export * from './file-disk.js'
export * from './png.js'
