/**
 * What needs Node: files and pictures.
 * @module
 */
export * from './file-disk.js'
export * from './png.js'
