/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.NotModelledException;

/** Standard input, output or error. Only its open descriptor is modelled, no operation. */
public final class StandardFile extends FakeFile {
    public StandardFile(KernelOfFile host) {
        super(host, READ | WRITE | CAN_READ | CAN_WRITE);
    }

    @Override
    public long read(long to, long length) {
        throw new NotModelledException("reading standard input");
    }

    @Override
    public long write(long from, long length) {
        throw new NotModelledException("writing standard output");
    }

    @Override
    public int statusFlags() {
        throw new NotModelledException("F_GETFL of standard input or output");
    }

    @Override
    public boolean hasPoll() {
        throw new NotModelledException("an epoll set on standard input or output");
    }

    @Override
    public int poll() {
        throw new NotModelledException("waiting for standard input");
    }
}
