/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.uapi.Uapi;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * The objects of a kernel that a program has: files that are open, mapped and registered, by calls that succeeded. A
 * proxy around a {@link Libc} sees the calls.
 */
final class KernelLedger {
    private final Libc libc;
    /** The names of files by descriptor, such as {@code vm#1}, and of mappings by address. */
    private final Map<Object, String> names = new HashMap<>();

    private final Map<String, Integer> last = new HashMap<>();
    /** By what identifies them, such as {@code vm#1 irqfd eventfd#2 gsi 24}. */
    private final TreeSet<String> registered = new TreeSet<>();

    private final Map<String, String> routes = new TreeMap<>();

    KernelLedger(Libc libc) {
        this.libc = libc;
    }

    KernelBackend backend() {
        Libc seen = (Libc) Proxy.newProxyInstance(Libc.class.getClassLoader(), new Class<?>[] {Libc.class}, this::call);
        return LibcBackend.over(seen, "ledger", "ledger");
    }

    private Object call(Object proxy, Method method, Object[] arguments) throws Throwable {
        // A buffer's call comes back with an address.
        if (method.isDefault() && arguments != null && arguments[arguments.length - 1] instanceof ByteBuffer) {
            return InvocationHandler.invokeDefault(proxy, method, arguments);
        }
        // A number that is closed may be another file at once.
        String closed = method.getName().equals("close") ? names.remove(arguments[0]) : null;
        Object result = Faults.invoke(libc, method, arguments);
        if (closed == null && result instanceof Number number && number.longValue() >= 0) {
            succeeded(method.getName(), arguments, number.longValue());
        }
        // With the last descriptor goes what was registered.
        registered.removeIf(what -> !names.containsValue(what.substring(0, what.indexOf(' '))));
        routes.keySet().retainAll(names.values());
        return result;
    }

    private void succeeded(String call, Object[] arguments, long result) {
        switch (call) {
            case "open" -> add((int) result, "kvm");
            case "eventfd", "epollCreate" -> add((int) result, call.substring(0, 5));
            case "mmap" -> add(result, (int) arguments[3] < 0 ? "memory" : "run");
            case "munmap" -> names.remove(arguments[0]);
            case "fcntl" -> {
                if ((int) arguments[1] == Uapi.F_DUPFD_CLOEXEC) {
                    names.put((int) result, names.get(arguments[0]));
                }
            }
            case "ioctl" -> ioctl(names.get(arguments[0]), (long) arguments[1], (long) arguments[2], (int) result);
            default -> {}
        }
    }

    private void add(Object key, String kind) {
        names.put(key, kind + "#" + last.merge(kind, 1, Integer::sum));
    }

    private void ioctl(String on, long request, long argument, int result) {
        if (request == Uapi.KVM_CREATE_VM) {
            add(result, "vm");
        } else if (request == Uapi.KVM_CREATE_VCPU) {
            add(result, "vcpu");
        } else if (request == Uapi.KVM_CREATE_DEVICE) {
            add(libc.view(argument, Uapi.KvmCreateDevice.SIZE).getInt(Uapi.KvmCreateDevice.FD), "device");
        } else if (request == Uapi.KVM_IRQFD) {
            ByteBuffer in = libc.view(argument, Uapi.KvmIrqfd.SIZE);
            change(
                    (in.getInt(Uapi.KvmIrqfd.FLAGS) & Uapi.KVM_IRQFD_FLAG_DEASSIGN) != 0,
                    on + " irqfd " + names.get(in.getInt(Uapi.KvmIrqfd.FD)) + " gsi " + in.getInt(Uapi.KvmIrqfd.GSI));
        } else if (request == Uapi.KVM_IOEVENTFD) {
            ByteBuffer in = libc.view(argument, Uapi.KvmIoeventfd.SIZE);
            change(
                    (in.getInt(Uapi.KvmIoeventfd.FLAGS) & Uapi.KVM_IOEVENTFD_FLAG_DEASSIGN) != 0,
                    on + " ioeventfd " + names.get(in.getInt(Uapi.KvmIoeventfd.FD)) + " address "
                            + in.getLong(Uapi.KvmIoeventfd.ADDR) + " data " + in.getLong(Uapi.KvmIoeventfd.DATAMATCH));
        } else if (request == Uapi.KVM_SET_USER_MEMORY_REGION) {
            ByteBuffer in = libc.view(argument, Uapi.KvmUserspaceMemoryRegion.SIZE);
            change(
                    in.getLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE) == 0,
                    on + " memory slot " + in.getInt(Uapi.KvmUserspaceMemoryRegion.SLOT));
        } else if (request == Uapi.KVM_SET_GSI_ROUTING) {
            int count = libc.view(argument, Uapi.KvmIrqRouting.SIZE).getInt(Uapi.KvmIrqRouting.NR);
            byte[] table = new byte[Uapi.KvmIrqRouting.SIZE + count * Uapi.KvmIrqRoutingEntry.SIZE];
            libc.view(argument, table.length).get(table);
            routes.put(on, HexFormat.of().formatHex(table));
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
        Map<String, Integer> open = new TreeMap<>();
        names.values().forEach(name -> open.merge(name, 1, Integer::sum));
        return "open " + open + ", registered " + registered + ", routes " + routes;
    }
}
