/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * The self-describing statistics file of a VM or vCPU. The fake has no statistics: the file has a header and a name,
 * and no descriptors. Source: virt/kvm/binary_stats.c.
 */
public final class StatsFile extends FakeFile {
    private static final int NAME_SIZE = 48;
    private static final int END = Uapi.KvmStatsHeader.SIZE + NAME_SIZE;

    private final ByteBuffer content = ByteBuffer.allocate(END).order(ByteOrder.nativeOrder());
    private int position;

    /** @param name the part of the name after the process id */
    public StatsFile(Host host, String name) {
        super(host, READ | CAN_READ | PREAD);
        content.putInt(Uapi.KvmStatsHeader.NAME_SIZE, NAME_SIZE)
                .putInt(Uapi.KvmStatsHeader.ID_OFFSET, Uapi.KvmStatsHeader.SIZE)
                .putInt(Uapi.KvmStatsHeader.DESC_OFFSET, END)
                .putInt(Uapi.KvmStatsHeader.DATA_OFFSET, END);
        String id = "kvm-" + ProcessHandle.current().pid() + name;
        content.put(Uapi.KvmStatsHeader.SIZE, id.getBytes(StandardCharsets.US_ASCII));
    }

    @Override
    public long read(long to, long length) {
        long result = pread(to, length, position);
        position += (int) Math.max(result, 0);
        return result;
    }

    @Override
    public long pread(long to, long length, long offset) {
        host.note(VmAnswer.STATS_NONE);
        int size = (int) Math.max(0, Math.min(length, END - offset));
        if (size == 0) {
            return 0;
        }
        int refused = host.copyOut(to, content.slice((int) offset, size), size);
        return refused < 0 ? refused : size;
    }
}
