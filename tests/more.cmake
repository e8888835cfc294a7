# Tests that are not cmocka programs.

# Every kernel on every runtime. Oclgrind interprets: small shapes, minutes, and a log of faults that must stay empty.
foreach(runtime IN LISTS runtimes)
  add_test(NAME selftest_${runtime}
    COMMAND ${on_runtime} ${runtime} ${CMAKE_CURRENT_SOURCE_DIR}/selftest ${runtime} $<TARGET_FILE:layerwise_command>)
  # The longest start first.
  set_tests_properties(selftest_${runtime} PROPERTIES TIMEOUT 1800 COST 1000 ENVIRONMENT "${test_environment}")
endforeach()
# The same bits on every vendor's runtime, through the command.
add_test(NAME reproducible COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/reproducible ${PROJECT_SOURCE_DIR}/tools/runtimes $<TARGET_FILE:layerwise_command> ${runtimes})
set_tests_properties(reproducible PROPERTIES TIMEOUT 900 SKIP_RETURN_CODE 77 ENVIRONMENT "${test_environment}")

# The host side of every operator under the sanitizers.
if(LAYERWISE_ASAN_TREE)
  add_test(NAME asan/selftest COMMAND ${on_runtime} ${first_runtime} ${LAYERWISE_ASAN_TREE}/layerwise selftest --quick)
  set_tests_properties(asan/selftest PROPERTIES TIMEOUT 1800 ENVIRONMENT "${test_environment}" DEPENDS selftest_${first_runtime})
endif()
add_test(NAME devices
  COMMAND ${on_runtime} all ${CMAKE_CURRENT_SOURCE_DIR}/devices $<TARGET_FILE:layerwise_command> ${runtimes})

# Scripts that use the command as people do. 77: what they need is not installed.
file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/cli/*.sh)
list(FILTER scripts EXCLUDE REGEX "/recipe.sh$")
foreach(script IN LISTS scripts)
  cmake_path(GET script STEM name)
  add_test(NAME cli/${name} COMMAND ${on_runtime} ${first_runtime} ${script} $<TARGET_FILE:layerwise_command>)
  set_tests_properties(cli/${name} PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77 ENVIRONMENT "${test_environment}")
endforeach()

# Devices are lost in the middle of the work: a layer between the OpenCL loader and the driver sees to it.
add_library(fault_layer MODULE ${CMAKE_CURRENT_SOURCE_DIR}/faults/layer.c)
target_include_directories(fault_layer PRIVATE ${OPENCL_INCLUDE_DIRS})
add_test(NAME faults/single_device COMMAND ${on_runtime} ${first_runtime} ${CMAKE_CURRENT_SOURCE_DIR}/faults/single_device.sh
  $<TARGET_FILE:layerwise_command> $<TARGET_FILE:fault_layer>)
add_test(NAME faults/three_devices COMMAND ${on_runtime} ${first_runtime} ${CMAKE_CURRENT_SOURCE_DIR}/faults/three_devices.sh
  $<TARGET_FILE:layerwise_command> $<TARGET_FILE:fault_layer>)
set(fault_tests faults/single_device faults/three_devices)
if(LAYERWISE_ASAN_TREE)
  add_test(NAME asan/faults/single_device COMMAND ${on_runtime} ${first_runtime} ${CMAKE_CURRENT_SOURCE_DIR}/faults/single_device.sh
    ${LAYERWISE_ASAN_TREE}/layerwise $<TARGET_FILE:fault_layer>)
  list(APPEND fault_tests asan/faults/single_device)
endif()
set_tests_properties(${fault_tests} PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77 ENVIRONMENT "${test_environment}")

# Several vendors' runtimes in one job, of which any may be lost.
add_test(NAME vendors COMMAND ${on_runtime} all ${CMAKE_CURRENT_SOURCE_DIR}/vendors
  $<TARGET_FILE:layerwise_command> $<TARGET_FILE:fault_layer> ${runtimes})
set_tests_properties(vendors PROPERTIES TIMEOUT 900 SKIP_RETURN_CODE 77 ENVIRONMENT "${test_environment}")

# Several processes; and a build that cannot join them says so rather than train once in each.
if(LAYERWISE_MPI)
  add_test(NAME mpi/ranks COMMAND ${on_runtime} ${first_runtime} ${CMAKE_CURRENT_SOURCE_DIR}/mpi/ranks.sh $<TARGET_FILE:layerwise_command>)
  add_test(NAME mpi/lost COMMAND ${on_runtime} ${first_runtime} ${CMAKE_CURRENT_SOURCE_DIR}/mpi/lost.sh
    $<TARGET_FILE:layerwise_command> $<TARGET_FILE:fault_layer>)
  set_tests_properties(mpi/ranks mpi/lost PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77 ENVIRONMENT "${test_environment}")
endif()
if(LAYERWISE_ASAN_TREE OR NOT LAYERWISE_MPI)
  set(command_without_mpi $<IF:$<BOOL:${LAYERWISE_MPI}>,${LAYERWISE_ASAN_TREE}/layerwise,$<TARGET_FILE:layerwise_command>>)
  add_test(NAME mpi/missing COMMAND ${command_without_mpi} train recipe.yaml)
  set_tests_properties(mpi/missing PROPERTIES ENVIRONMENT "OMPI_COMM_WORLD_SIZE=2" PASS_REGULAR_EXPRESSION "2 processes were started, which this build cannot join")
endif()

add_test(NAME rooms COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/rooms ${PROJECT_SOURCE_DIR})
add_test(NAME headers_alone COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/headers ${PROJECT_SOURCE_DIR})
add_test(NAME installed COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/install/run
  ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR} ${on_runtime} ${first_runtime})
set_tests_properties(installed devices PROPERTIES TIMEOUT 300 ENVIRONMENT "${test_environment}")

# Every kernel file compiles alone, as plain OpenCL C 1.2, for a 64-bit device without any option.
find_program(CLANG clang)
if(CLANG)
  list(FILTER kernels EXCLUDE REGEX "/common.cl$")
  foreach(kernel IN LISTS kernels)
    cmake_path(GET kernel STEM name)
    add_test(NAME kernel_alone/${name} COMMAND ${CLANG} -x cl -cl-std=CL1.2 -target spir64 -Xclang -finclude-default-header
      -Wall -Wextra -Wno-unused-function -Wno-unused-parameter -Werror -fsyntax-only -include ${PROJECT_SOURCE_DIR}/cl/common.cl ${kernel})
  endforeach()
endif()

# Each fuzz harness for some seconds, from its examples in tests/fuzz/<name>/ where it has any.
if(LAYERWISE_FUZZ_TREE)
  file(GLOB harnesses CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/*.c)
  foreach(harness IN LISTS harnesses)
    cmake_path(GET harness STEM name)
    set(examples ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/${name})
    if(NOT IS_DIRECTORY ${examples})
      set(examples)
    endif()
    set(found ${PROJECT_BINARY_DIR}/fuzz/${name})
    file(MAKE_DIRECTORY ${found})
    add_test(NAME fuzz/${name} COMMAND ${LAYERWISE_FUZZ_TREE}/tests/fuzz/fuzz_${name}
      -max_total_time=10 -rss_limit_mb=4096 -timeout=20 ${found} ${examples})
    set_tests_properties(fuzz/${name} PROPERTIES TIMEOUT 120 WORKING_DIRECTORY ${found} ENVIRONMENT "${test_environment}")
  endforeach()
endif()
