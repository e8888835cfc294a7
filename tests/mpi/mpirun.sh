# Sourced by the scripts here, after recipe.sh: processes by the number, on however few cores, each with one thread.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl=self,vader
export OMPI_MCA_odls_base_sigkill_timeout=5 # seconds from TERM to KILL: one is little for a checkpoint on a busy machine
export POCL_MAX_PTHREAD_COUNT=2

mpirun=(mpirun --bind-to none)

ranks() { # processes, command...
	local processes=$1
	shift
	timeout 200 "${mpirun[@]}" -np "$processes" "$@" </dev/null
}
