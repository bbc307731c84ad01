/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.x86.cpu.ExtendedState;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.function.ToIntFunction;

/** The vCPU requests that save and restore MSRs, FPU, XSAVE area and XCRs, which guests of the fake do not use. */
final class SavedState {
    private final Host host;
    private final Msrs msrs;
    private final ExtendedState extended = new ExtendedState();

    SavedState(Host host, Msrs msrs) {
        this.host = host;
        this.msrs = msrs;
    }

    int getMsrs(ByteBuffer header, long address) {
        return withMsrs(header, address, entries -> {
            int done = msrs.get(host, entries);
            int copied = host.copyOut(address + Uapi.KvmMsrs.SIZE, entries, entries.capacity());
            return copied < 0 ? copied : done;
        });
    }

    int setMsrs(ByteBuffer header, long address) {
        return withMsrs(header, address, entries -> msrs.set(host, entries));
    }

    private int withMsrs(ByteBuffer header, long address, ToIntFunction<ByteBuffer> answer) {
        int count = header.getInt(Uapi.KvmMsrs.NMSRS);
        if (Integer.compareUnsigned(count, Msrs.TOO_MANY) >= 0) {
            return host.refuse(VmAnswer.MSRS_MANY);
        }
        return host.copied(address + Uapi.KvmMsrs.SIZE, count * Uapi.KvmMsrEntry.SIZE, answer);
    }

    int getFpu(ByteBuffer to) {
        extended.saveFpu(to);
        return 0;
    }

    int setFpu(ByteBuffer from) {
        host.note(VmAnswer.FPU_WITHOUT_MXCSR);
        extended.loadFpu(from);
        return 0;
    }

    int getXsave(ByteBuffer to) {
        extended.saveXsave(to);
        return 0;
    }

    int setXsave(ByteBuffer area) {
        return host.refuse(extended.loadXsave(area));
    }

    int getXcrs(ByteBuffer to) {
        extended.saveXcrs(to);
        return 0;
    }

    /** @param offered the XCR0 bits of the CPUID */
    int setXcrs(ByteBuffer from, long offered) {
        return host.refuse(extended.loadXcrs(from, offered));
    }
}
