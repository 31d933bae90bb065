/** Case number `n` of a form, of any suite. */
import type { OracleCase } from './case.js'
import type { Form } from './forms.js'
import { Generator } from './generate.js'
import { FpGenerator } from './generate-fp.js'

export function generate(form: Form, n: number): OracleCase {
  return form.suite === 'fp' ? new FpGenerator(form, n).generate() : new Generator(form, n).generate()
}
