// Parts of an operation on the threads that torch's operations run on: a pool beside it would take turns with it on the
// same cores. torch loads its OpenMP runtime for everyone; where there is none, the caller's thread does all.
#pragma once
#include <dlfcn.h>
#include <atomic>

typedef void (*Parallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags);

// `part(i)` for every i below `count`, whoever is free; returns when all are done. A part mustn't throw.
template <class Part> static void for_each(int count, int threads, Part part) {
    static const auto parallel = (Parallel)dlsym(RTLD_DEFAULT, "GOMP_parallel");
    struct Work {
        Part& part;
        int count;
        std::atomic<int> next;
    } work{part, count, {0}};
    const auto body = [](void* data) {
        Work& work = *(Work*)data;
        for (int i; (i = work.next.fetch_add(1)) < work.count;) work.part(i);
    };
    if (parallel && threads > 1 && count > 1)
        parallel(body, &work, (unsigned)threads, 0);
    else
        body(&work);
}
