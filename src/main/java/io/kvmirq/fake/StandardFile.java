/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

/** Standard input, output or error of the process: open, and nothing of KVM's. */
final class StandardFile extends FakeFile {
    StandardFile(FakeKernel kernel) {
        super(kernel);
    }

    @Override
    long read(long to, long length) {
        throw new NotModelledException("reading standard input");
    }

    @Override
    long write(long from, long length) {
        throw new NotModelledException("writing standard output");
    }

    @Override
    boolean readable() {
        throw new NotModelledException("waiting for standard input");
    }
}
