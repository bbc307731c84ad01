/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/** The state of a kernel after the calls of a tape: files that are open, mapped and registered. */
final class Ledger {
    private final Map<String, Integer> open = new TreeMap<>();
    /** By what identifies them, such as {@code vm#1 irqfd eventfd#2 gsi 24}. */
    private final TreeSet<String> registered = new TreeSet<>();

    private final Map<String, String> routes = new TreeMap<>();

    static Ledger of(Iterable<TapeLine> lines) {
        Ledger ledger = new Ledger();
        for (TapeLine line : lines) {
            if (line instanceof TapeLine.Call call && call.errno().isEmpty()) {
                ledger.add(call);
            }
        }
        return ledger;
    }

    private void add(TapeLine.Call call) {
        call.made().ifPresent(made -> open.merge(made, 1, Integer::sum));
        switch (call.call()) {
            case "close", "munmap" -> open.computeIfPresent(call.on(), (name, count) -> count == 1 ? null : count - 1);
            case "ioctl" -> call.in().ifPresent(in -> register(call, in));
            default -> {}
        }
        // With the last descriptor goes what was registered; a vCPU's keeps a VM, but none is left here without its
        // own.
        registered.removeIf(what -> what.startsWith("vm#") && !open.containsKey(what.substring(0, what.indexOf(' '))));
        routes.keySet().retainAll(open.keySet());
    }

    private void register(TapeLine.Call call, ByteBuffer in) {
        if (call.request() == Uapi.KVM_IRQFD) {
            boolean takes = (in.getInt(Uapi.KvmIrqfd.FLAGS) & Uapi.KVM_IRQFD_FLAG_DEASSIGN) != 0;
            change(takes, call.on() + " irqfd " + call.names().get("0") + " gsi " + in.getInt(Uapi.KvmIrqfd.GSI));
        } else if (call.request() == Uapi.KVM_IOEVENTFD) {
            boolean takes = (in.getInt(Uapi.KvmIoeventfd.FLAGS) & Uapi.KVM_IOEVENTFD_FLAG_DEASSIGN) != 0;
            change(
                    takes,
                    call.on() + " ioeventfd " + call.names().get("20") + " address "
                            + in.getLong(Uapi.KvmIoeventfd.ADDR) + " data " + in.getLong(Uapi.KvmIoeventfd.DATAMATCH));
        } else if (call.request() == Uapi.KVM_SET_USER_MEMORY_REGION) {
            boolean takes = in.getLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE) == 0;
            change(takes, call.on() + " memory slot " + in.getInt(Uapi.KvmUserspaceMemoryRegion.SLOT));
        } else if (call.request() == Uapi.KVM_SET_GSI_ROUTING) {
            byte[] table = new byte[in.limit()];
            in.get(0, table);
            routes.put(call.on(), HexFormat.of().formatHex(table));
        }
    }

    private void change(boolean takes, String what) {
        if (takes) {
            registered.remove(what);
        } else {
            registered.add(what);
        }
    }

    @Override
    public String toString() {
        return "open " + open + ", registered " + registered + ", routes " + routes;
    }
}
